"""How an index is reached: addresses, TLS, and what is repeated when it does not answer."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc as rpc

from tamis.models.errors import InputError, SettingsError

# No message is larger, either way; upserts and answers with vectors are cut well below it.
MAX_MESSAGE_BYTES = 128 << 20
ATTEMPTS = 5  # of a call, at most: gRPC allows no more
_READS = {
    "qdrant.Points": ("Query", "Get", "Scroll", "Count"),
    "qdrant.Collections": ("Get", "List", "ListAliases"),
}
# `Create` made twice would find a collection there, of its own making.
_ONCE = ({"service": "qdrant.Collections", "method": "Create"},)


def _service_config(attempts: int) -> str:
    """What gRPC does by itself when the connection breaks or cannot be had.

    A search is worth little when it is late, and another server may answer it: it is repeated for
    some 1.5 s, then its caller is told. A write waits for an engine that is starting again, as
    long as its deadline lets it; so do the reads that it needs (`calls.reads_wait`).
    """
    reads = [
        {"service": service, "method": method}
        for service, methods in _READS.items()
        for method in methods
    ]
    writes = [{"service": "qdrant.Points"}, {"service": "qdrant.Collections"}]
    configs: list[dict[str, Any]] = [
        {"name": reads, **_repeated(attempts, first_s=0.1, longest_s=1.0)},
        {"name": writes, "waitForReady": True, **_repeated(attempts, first_s=0.1, longest_s=2.0)},
        {"name": _ONCE, "waitForReady": True},
    ]
    return json.dumps({"methodConfig": configs})


def _repeated(attempts: int, *, first_s: float, longest_s: float) -> dict[str, Any]:
    if attempts == 1:
        return {}
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": f"{first_s}s",
        "maxBackoff": f"{longest_s}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"retryPolicy": policy}


def channel_to(
    url: str, *, authorities: bytes | None = None, attempts: int = ATTEMPTS
) -> rpc.aio.Channel:
    """A connection to ``unix:/path``, ``http://host:6334`` or ``https://host:6334``.

    Args:
        url: The address.
        authorities: Whom TLS trusts, as PEM; None for the system's.
        attempts: How often a call is made at most, from 1 to 5.

    Raises:
        InputError: The address is of another form.
    """
    local = url.startswith("unix:")
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.service_config", _service_config(attempts)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        # To look for an engine of this machine costs nothing, and it is back in two seconds.
        ("grpc.max_reconnect_backoff_ms", 200 if local else 1_000),
    ]
    if local:
        return rpc.aio.insecure_channel(url, options=options)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is not an address such as http://qdrant:6334")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    target = f"{host}:{parts.port or 6334}"
    if parts.scheme == "http":
        return rpc.aio.insecure_channel(target, options=options)
    # A node that is lost without a word is noticed in half a minute.
    options += [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
    credentials = rpc.ssl_channel_credentials(authorities)
    return rpc.aio.secure_channel(target, credentials, options=options)


def authorities_of(ca_file: str) -> bytes | None:
    """Whom TLS trusts; None, where no file is named, for whom the system trusts.

    Raises:
        SettingsError: The file cannot be read.
    """
    if not ca_file:
        return None
    try:
        return Path(ca_file).read_bytes()
    except OSError as error:
        raise SettingsError(f"store.ca_file: {error}") from error
