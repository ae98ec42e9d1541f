"""The settings of what is remembered and kept, the table `[cache]`."""

import math
from dataclasses import dataclass, field
from enum import StrEnum


class RedisMode(StrEnum):
    """What answers at `redis_url`."""

    STANDALONE = "standalone"  # one server
    SENTINEL = "sentinel"  # sentinels, who know which server is the primary now
    CLUSTER = "cluster"  # nodes, each with a part of the keys


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What is remembered of query embeddings, and where contexts are kept.

    Contexts are kept in Redis, or in this process where there is none.

    Attributes:
        local_bytes: Bytes that this process keeps; 0 turns the tier off.
        redis_url: Such as ``redis://:password@localhost:6379/0``, or ``rediss://`` for TLS; empty
            turns the tier off. Of several sentinels or nodes, one; what it says beside the address
            holds for all.
        redis_mode: What answers there: ``standalone``, ``sentinel`` or ``cluster``.
        redis_addresses: The other sentinels or nodes, as ``host:port``, asked where the first does
            not answer.
        redis_master: The name that the sentinels have for the primary.
        redis_sentinel_password: The sentinels' own; empty where they want none.
        redis_ca_file: The authorities that TLS trusts, as PEM; empty for the system's.
        redis_timeout_ms: How long a search waits for Redis, in milliseconds, before it goes on
            without it.
        redis_lease_ms: How long a process may compute what others wait for, in milliseconds, before
            they compute it too; 0 lets each compute for itself.
        redis_ttl_s: How long Redis keeps an entry, in seconds.
        context_bytes: Bytes of contexts that this process keeps where there is no Redis; 0 keeps
            none.
        context_max_bytes: Of one context; a larger one has no handle.
        context_timeout_ms: How long a search waits for Redis to take a context or to give it, in
            milliseconds, before it goes on without.
        context_lease_ms: How long a process may compute a context that others wait for, in
            milliseconds, before they compute it too.
        breaker_failures: Failures in a row after which Redis is left alone for a while.
        breaker_pause_s: How long it is left alone, in seconds.
    """

    local_bytes: int = 64 << 20
    redis_url: str = field(default="", repr=False)  # it may hold a password
    redis_mode: str = RedisMode.STANDALONE.value
    redis_addresses: tuple[str, ...] = ()
    redis_master: str = "mymaster"
    redis_sentinel_password: str = field(default="", repr=False)
    redis_ca_file: str = ""
    redis_timeout_ms: float = 5.0
    redis_lease_ms: float = 1_000.0
    redis_ttl_s: int = 86_400
    context_bytes: int = 256 << 20
    context_max_bytes: int = 32 << 20
    context_timeout_ms: float = 100.0
    context_lease_ms: float = 30_000.0
    breaker_failures: int = 5
    breaker_pause_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("local_bytes", "context_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 1 <= self.context_max_bytes <= 1 << 30:
            raise ValueError(
                f"context_max_bytes must be from 1 to 1 GiB, not {self.context_max_bytes}"
            )
        if self.redis_mode not in list(RedisMode):
            modes = ", ".join(RedisMode)
            raise ValueError(f"redis_mode must be one of {modes}, not {self.redis_mode!r}")
        if self.redis_addresses and self.redis_mode == RedisMode.STANDALONE:
            raise ValueError("redis_addresses has no meaning while redis_mode is standalone")
        for address in self.redis_addresses:
            host_and_port(address)
        if not self.redis_master:
            raise ValueError("redis_master must not be empty")
        for name in ("redis_timeout_ms", "context_timeout_ms", "context_lease_ms"):
            if not 0 < getattr(self, name) <= 60_000:
                raise ValueError(f"{name} must be above 0, up to 60000, not {getattr(self, name)}")
        if not 0 <= self.redis_lease_ms <= 60_000:
            raise ValueError(f"redis_lease_ms must be from 0 to 60000, not {self.redis_lease_ms}")
        if not 1 <= self.redis_ttl_s <= 10 * 365 * 86_400:
            raise ValueError(f"redis_ttl_s must be from 1 to ten years, not {self.redis_ttl_s}")
        if self.breaker_failures < 1:
            raise ValueError(f"breaker_failures must be at least 1, not {self.breaker_failures}")
        if not 0 < self.breaker_pause_s < math.inf:
            raise ValueError(f"breaker_pause_s must be above 0, not {self.breaker_pause_s}")


def host_and_port(address: str) -> tuple[str, int]:
    """Both parts of ``host:port``; an IPv6 host is in brackets.

    Raises:
        ValueError: It is not of that form.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f"redis_addresses must be host:port, not {address!r}")
    return host, int(port)
