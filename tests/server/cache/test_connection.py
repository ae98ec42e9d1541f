"""Every way to Redis that the settings offer, against real servers."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from cache_support import Clock, settings
from redis_server import (
    READY_S,
    RedisServer,
    SentinelServer,
    cluster,
    wait_for,
    wanted_binary,
)

from tamis.models.errors import SettingsError
from tamis.server.cache.chunks import CHUNK_BYTES
from tamis.server.cache.connection import connect
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import Policy
from tamis.server.cache.redis import RedisTier
from tamis.server.cache.settings import CacheSettings

Tier = RedisTier[bytes]
Open = Callable[[CacheSettings], Tier]


@pytest_asyncio.fixture
async def open_tier() -> AsyncIterator[Open]:
    tiers: list[Tier] = []

    def make(settings: CacheSettings) -> Tier:
        tiers.append(RedisTier(settings, lambda data: data, clock=Clock()))
        return tiers[-1]

    yield make
    for tier in tiers:
        await tier.close()


async def kept(tier: Tier, key: str) -> bool:
    """Whether what it writes is there to read."""
    tier.set(key, b"value")
    await tier.settle()
    return await tier.get(key) == b"value"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost and its key, in one file."""
    made = tmp_path / "localhost.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
        f" -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {made}.key -out {made}"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl, which makes the certificate")
    return made


@asynccontextmanager
async def behind_tls(server: RedisServer, certificate: Path) -> AsyncIterator[int]:
    """The port of something that takes TLS off and hands the rest to the server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, f"{certificate}.key")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass  # one side has gone
        finally:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_tls_with_a_password_trusts_the_authorities_that_are_named(
    redis_server: RedisServer, certificate: Path, open_tier: Open
) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "secret")
    async with behind_tls(redis_server, certificate) as port:
        named = settings(f"rediss://:secret@localhost:{port}/0")
        trusting = open_tier(replace(named, redis_ca_file=str(certificate)))
        assert await kept(trusting, "a")
        doubting = open_tier(named)  # the system's authorities do not know it
        assert not await kept(doubting, "b")
        assert doubting.stats().errors > 0
        elsewhere = settings(f"rediss://:secret@127.0.0.1:{port}/0")
        mistaken = open_tier(replace(elsewhere, redis_ca_file=str(certificate)))
        assert not await kept(mistaken, "c"), "the certificate is another host's"
        for tier in (trusting, doubting, mistaken):
            await tier.close()


async def test_after_a_failover_the_new_primary_is_found(
    tmp_path: Path, redis_server: RedisServer, open_tier: Open
) -> None:
    folders = [tmp_path / name for name in ("replica", "sentinel")]
    for folder in folders:
        folder.mkdir()
    of = ["--replicaof", "127.0.0.1", str(redis_server.port), "--repl-diskless-sync-delay", "0"]
    replica = RedisServer(wanted_binary(), folders[0], of)
    sentinel = SentinelServer(wanted_binary(), folders[1], redis_server, "quiet")

    def told(*words: str) -> bytes:
        return sentinel.command("AUTH", "quiet", then=words)

    replica.start()
    sentinel.start()
    try:
        await asyncio.to_thread(
            wait_for,
            lambda: str(replica.port).encode() in told("SENTINEL", "REPLICAS", "mymaster"),
            "a sentinel that knows the replica",
        )
        tier = open_tier(
            replace(
                settings("redis://127.0.0.1:1/0", failures=1_000),  # nobody listens there
                redis_mode="sentinel",
                redis_addresses=(f"127.0.0.1:{sentinel.port}",),
                redis_sentinel_password="quiet",
            )
        )
        assert await kept(tier, "a")
        assert redis_server.command("EXISTS", "a") == b":1\r\n"
        redis_server.stop()
        await asyncio.to_thread(
            wait_for, lambda: b"role:master" in replica.command("INFO"), "a failover"
        )
        await tier.get("b")  # may find out only now that the connection has gone
        async with asyncio.timeout(READY_S):
            while not await kept(tier, "b"):
                await tier.warm_up()
        assert replica.command("EXISTS", "b") == b":1\r\n"
        await tier.close()
    finally:
        sentinel.stop()
        replica.stop()


async def test_a_cluster_has_each_key_on_its_node(tmp_path: Path, open_tier: Open) -> None:
    keys = [f"tamis:x:{i}" for i in range(100)]
    with cluster(tmp_path) as nodes:
        first, *others = nodes
        tier = open_tier(
            replace(
                settings("redis://127.0.0.1:1/0", failures=1_000),  # nobody listens there
                redis_mode="cluster",
                redis_addresses=tuple(f"127.0.0.1:{node.port}" for node in others),
            )
        )
        for key in keys:
            tier.set(key, key.encode())
        await tier.settle()
        assert [await tier.get(key) for key in keys] == [key.encode() for key in keys]
        held = [int(node.command("DBSIZE")[1:]) for node in nodes]
        assert min(held) > 0
        assert sum(held) == len(keys)
        assert tier.stats().errors == 0
        assert await tier.purge("tamis:x:") == len(keys)
        assert first.command("DBSIZE") == b":0\r\n"
        await tier.close()


async def test_a_cluster_has_all_of_a_context_on_one_node(tmp_path: Path) -> None:
    data = bytes(2 * CHUNK_BYTES + 1)
    with cluster(tmp_path) as nodes:
        named = replace(settings(nodes[0].url), redis_mode="cluster", context_timeout_ms=5_000.0)
        one, other = ContextCache(named, clock=Clock()), ContextCache(named, clock=Clock())
        handles = [ContextCache.handle("f00d", f"{number:032x}") for number in range(12)]
        for number, handle in enumerate(handles):
            before = [int(node.command("DBSIZE")[1:]) for node in nodes]
            await one.keep(handle, data, 60)
            after = [int(node.command("DBSIZE")[1:]) for node in nodes]
            grown = sorted(now - then for now, then in zip(after, before, strict=True))
            assert grown == [0, 0, 4], f"the head and three chunks of {number} are together"
        assert [await other.fetch(handle) for handle in handles] == 12 * [data]
        assert all(int(node.command("DBSIZE")[1:]) for node in nodes)

        async def compute() -> bytes:
            return b"computed"

        found = await other.get_or_compute(
            ContextCache.handle("f00d", 32 * "c"), compute, Policy.DEFAULT, ttl_s=60
        )
        assert found == b"computed"
        assert await one.purge("f00d") == 13
        assert [node.command("DBSIZE") for node in nodes] == 3 * [b":0\r\n"]
        await one.close()
        await other.close()


async def test_a_cluster_that_lost_a_node_serves_the_rest(tmp_path: Path, open_tier: Open) -> None:
    with cluster(tmp_path) as nodes:
        for node in nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        named = replace(settings(nodes[0].url, failures=1_000), redis_mode="cluster")
        tier = open_tier(named)
        for i in range(30):
            tier.set(str(i), b"value")
        await tier.settle()
        nodes[2].stop()
        lost = [i for i in range(30) if await tier.get(str(i)) is None]
        assert 0 < len(lost) < 30
        assert await kept(tier, next(str(i) for i in range(30) if i not in lost))
        await tier.close()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (CacheSettings(redis_url="localhost:6379"), "redis_url: Redis URL must specify"),
        (
            CacheSettings(redis_url="unix:///tmp/x", redis_mode="sentinel"),
            "redis_url: a socket has no meaning while redis_mode is sentinel",
        ),
        (
            CacheSettings(redis_url="redis://a/1", redis_mode="cluster"),
            "redis_url: Argument 'db' must be 0",
        ),
        (
            CacheSettings(redis_url="redis://a", redis_ca_file="a.pem"),
            "redis_ca_file: has no meaning unless redis_url is rediss://",
        ),
        (
            CacheSettings(redis_url="rediss://a", redis_ca_file="absent.pem"),
            r"redis_ca_file: absent\.pem: .*No such file",
        ),
    ],
)
def test_what_leads_nowhere_is_refused_at_once(named: CacheSettings, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"cache\.{message}"):
        connect(named, limit_s=1.0, max_connections=1)
