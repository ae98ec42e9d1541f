"""Contexts under handles: in this process, and in a real Redis that may fail in every way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from cache_support import Clock, garbage_server, took_s
from redis_server import RedisServer

from tamis.models.errors import InputError
from tamis.server.cache import ContextsUnavailableError, NotRememberedError, contexts, keys, link
from tamis.server.cache.chunks import CHUNK_BYTES, Head, chunk_key
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import Policy
from tamis.server.cache.settings import CacheSettings
from tamis.server.errors import OverloadedError

HANDLE = ContextCache.handle("f00d", 32 * "a")
KEY = keys.prefix(keys.CONTEXT) + HANDLE
SHORT_MS = 50.0
SLACK_S = 0.4

Open = Callable[..., ContextCache]


def kept_in(url: str = "", timeout_ms: float = 5_000.0, **more: Any) -> CacheSettings:
    """With patience, so that a busy machine is not taken for a broken Redis."""
    return CacheSettings(
        redis_url=url,
        context_timeout_ms=timeout_ms,
        breaker_failures=3,
        **{"context_max_bytes": 4 * CHUNK_BYTES, "context_bytes": 4 * CHUNK_BYTES, **more},
    )


@pytest_asyncio.fixture
async def open_cache() -> AsyncIterator[Open]:
    """Makes caches that are closed at the end; several are as several processes."""
    caches: list[ContextCache] = []

    def make(settings: CacheSettings, clock: Clock | None = None, **more: Any) -> ContextCache:
        caches.append(ContextCache(settings, clock=clock or Clock(), **more))
        return caches[-1]

    yield make
    for cache in caches:
        await cache.close()


def data_of(size: int) -> bytes:
    return bytes(at * 37 % 251 for at in range(size % 4_096)) + bytes(size - size % 4_096)


def size_of(server: RedisServer) -> int:
    return int(server.command("DBSIZE")[1:])


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_what_one_process_keeps_another_fetches(
    redis_server: RedisServer, open_cache: Open, size: int
) -> None:
    one, other = open_cache(kept_in(redis_server.url)), open_cache(kept_in(redis_server.url))
    await one.keep(HANDLE, data_of(size), 60)
    assert await other.fetch(HANDLE) == data_of(size)
    assert size_of(redis_server) == 1 + -(-size // CHUNK_BYTES)
    (stats,) = other.stats()
    assert (stats.tier, stats.kind, stats.hits, stats.misses) == ("redis", "context", 1, 0)


async def test_without_redis_a_context_is_kept_for_its_time(open_cache: Open) -> None:
    clock = Clock()
    cache = open_cache(kept_in(), clock)
    await cache.keep(HANDLE, b"context", 60)
    assert await cache.fetch(HANDLE) == b"context"
    clock.now = 59.9
    assert await cache.fetch(HANDLE) == b"context"
    clock.now = 60.0
    with pytest.raises(NotRememberedError, match=r"has expired, or its context was evicted"):
        await cache.fetch(HANDLE)
    (stats,) = cache.stats()
    assert (stats.tier, stats.kind, stats.bytes, stats.hits) == ("local", "context", 0, 3)


async def test_what_cannot_be_kept_says_which_setting_forbids_it(open_cache: Open) -> None:
    with pytest.raises(ContextsUnavailableError, match=r"context_max_bytes: 9 bytes; at most 8"):
        await open_cache(kept_in(context_max_bytes=8)).keep(HANDLE, b"123456789", 60)
    with pytest.raises(ContextsUnavailableError, match=r"context_bytes: 9 bytes do not fit"):
        await open_cache(kept_in(context_bytes=8)).keep(HANDLE, b"123456789", 60)
    with pytest.raises(ContextsUnavailableError, match=r"cache\.redis_url: several workers"):
        await open_cache(kept_in(), alone=False).keep(HANDLE, b"1", 60)


async def test_a_handle_of_another_form_is_refused(open_cache: Open) -> None:
    cache = open_cache(kept_in())
    for handle in ("", "x", "f00d:a", f"{HANDLE}a", "a b:" + 32 * "a", "*:" + 32 * "a"):
        with pytest.raises(InputError, match=r"handle: .* is not one that GetContext knows"):
            await cache.fetch(handle)
    assert ContextCache.handle("a:b*", 32 * "a") == "a%3Ab%2A:" + 32 * "a"


async def test_a_context_that_is_there_lives_on_and_is_not_sent_again(
    redis_server: RedisServer, open_cache: Open
) -> None:
    cache = open_cache(kept_in(redis_server.url))
    await cache.keep(HANDLE, data_of(2 * CHUNK_BYTES), 60)
    redis_server.command("CONFIG", "RESETSTAT")
    await cache.keep(HANDLE, data_of(2 * CHUNK_BYTES), 600)
    assert b"cmdstat_set:" not in redis_server.command("INFO", "commandstats")
    for key in (KEY, chunk_key(KEY, 0), chunk_key(KEY, 1)):
        assert int(redis_server.command("TTL", key)[1:]) > 60


@pytest.mark.parametrize(
    "damage",
    [
        ("DEL", chunk_key(KEY, 0)),
        ("DEL", chunk_key(KEY, 1)),
        ("SETRANGE", chunk_key(KEY, 1), "7", "x"),
        ("APPEND", chunk_key(KEY, 1), "x"),
        ("SET", chunk_key(KEY, 1), ""),
        ("SET", KEY, "somebody else's"),
        ("SETRANGE", KEY, "6", "\x02"),  # of another version
        ("SET", KEY, Head(total=1 << 62, digest=16 * b"x").packed()),
        ("DEL", KEY),
    ],
)
async def test_a_context_that_is_not_whole_is_a_miss_and_can_be_kept_again(
    redis_server: RedisServer, open_cache: Open, damage: tuple[str | bytes, ...]
) -> None:
    cache, data = open_cache(kept_in(redis_server.url)), data_of(2 * CHUNK_BYTES)
    await cache.keep(HANDLE, data, 60)
    redis_server.command(*damage)
    with pytest.raises(NotRememberedError):
        await cache.fetch(HANDLE)
    await cache.keep(HANDLE, data, 60)
    assert await cache.fetch(HANDLE) == data


async def test_a_value_of_another_kind_is_a_miss(
    redis_server: RedisServer, open_cache: Open
) -> None:
    cache = open_cache(kept_in(redis_server.url))
    redis_server.command("LPUSH", KEY, "a list")
    with pytest.raises(NotRememberedError):
        await cache.fetch(HANDLE)
    await cache.keep(HANDLE, b"context", 60)
    assert await cache.fetch(HANDLE) == b"context"


async def test_purging_takes_one_model_s_contexts_with_their_chunks(
    redis_server: RedisServer, open_cache: Open
) -> None:
    for url in (redis_server.url, ""):
        cache = open_cache(kept_in(url, context_bytes=8 * CHUNK_BYTES))
        for fingerprint in ("f00d", "f00d2"):
            for digit in "ab":
                handle = ContextCache.handle(fingerprint, 32 * digit)
                await cache.keep(handle, data_of(CHUNK_BYTES + 1), 60)
        assert await cache.purge("f00d") == 2
        with pytest.raises(NotRememberedError):
            await cache.fetch(HANDLE)
        assert await cache.fetch(ContextCache.handle("f00d2", 32 * "b"))
        assert await cache.purge() == 2
    assert size_of(redis_server) == 0


async def broken(how: str, server: RedisServer) -> None:
    if how == "killed":
        server.stop()
    elif how == "frozen":
        server.freeze()
    elif how == "full":
        server.command("CONFIG", "SET", "maxmemory", "1")
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize("how", ["killed", "frozen", "full"])
async def test_with_redis_broken_nothing_waits_and_nothing_is_named(
    redis_server: RedisServer, open_cache: Open, how: str
) -> None:
    patient = open_cache(kept_in(redis_server.url))
    await patient.keep(HANDLE, b"context", 60)
    quick_ms = 5_000.0 if how == "full" else SHORT_MS
    cache = open_cache(kept_in(redis_server.url, quick_ms))
    await cache.warm_up()
    await broken(how, redis_server)

    other = ContextCache.handle("f00d", 32 * "b")
    for _ in range(4):
        with pytest.raises(ContextsUnavailableError):
            assert await took_s(cache.keep(other, data_of(CHUNK_BYTES), 60)) < 1.0
    if how == "full":  # it still gives what it has
        assert await cache.fetch(HANDLE) == b"context"
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
        assert size_of(redis_server) == 2, "no half of what was refused is left"
    else:
        with pytest.raises(ContextsUnavailableError, match="does not answer"):
            await cache.fetch(HANDLE)
    (stats,) = cache.stats()
    assert stats.errors >= 3

    async def compute() -> bytes:
        return b"computed"

    computing = cache.get_or_compute(other, compute, Policy.DEFAULT, ttl_s=60)
    assert await asyncio.wait_for(computing, SLACK_S + 2 * quick_ms / 1e3) == b"computed"
    if how == "frozen":
        redis_server.thaw()


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$99\r\nand", b""])
async def test_with_nonsense_in_place_of_redis_nothing_is_named(
    nonsense: bytes, open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKGROUND_S", 0.2)
    async with garbage_server(nonsense) as url:
        cache = open_cache(kept_in(url, SHORT_MS))
        for _ in range(4):
            with pytest.raises(ContextsUnavailableError):
                await cache.keep(HANDLE, b"context", 60)
            with pytest.raises(ContextsUnavailableError):
                await cache.fetch(HANDLE)
        await cache.close()


class Model:
    """Computes one context, slowly, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.running, self.free = asyncio.Event(), asyncio.Event()
        self._error = error

    async def __call__(self) -> bytes:
        self.runs += 1
        self.running.set()
        await self.free.wait()
        if self._error is not None:
            raise self._error
        return b"computed %d" % self.runs


@pytest.mark.parametrize("shared", [False, True])
async def test_however_many_ask_it_is_computed_once(
    redis_server: RedisServer, open_cache: Open, shared: bool
) -> None:
    model = Model()
    settings = kept_in(redis_server.url if shared else "")
    caches = [open_cache(settings) for _ in range(2 if shared else 1)]
    asking = [
        asyncio.ensure_future(cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60))
        for cache in caches
        for _ in range(100)
    ]
    await model.running.wait()
    model.free.set()
    assert {*await asyncio.gather(*asking)} == {b"computed 1"}
    again = await caches[-1].get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60)
    assert (again, model.runs) == (b"computed 1", 1)
    assert await caches[0].fetch(HANDLE) == b"computed 1"


async def test_the_policy_is_honoured(open_cache: Open) -> None:
    cache, model = open_cache(kept_in()), Model()
    model.free.set()

    async def asked(policy: Policy) -> bytes:
        return await cache.get_or_compute(HANDLE, model, policy, ttl_s=60)

    with pytest.raises(NotRememberedError, match="cache_policy is ONLY"):
        await asked(Policy.ONLY)
    assert await asked(Policy.BYPASS) == b"computed 1"
    assert await asked(Policy.DEFAULT) == b"computed 2"
    assert await asked(Policy.BYPASS) == b"computed 3"
    assert await asked(Policy.ONLY) == await asked(Policy.DEFAULT) == b"computed 2"
    assert await asked(Policy.REFRESH) == b"computed 4"
    assert await asked(Policy.DEFAULT) == b"computed 4"


async def test_a_computation_outlives_who_asked_for_it(open_cache: Open) -> None:
    cache, model = open_cache(kept_in()), Model()
    asking = asyncio.ensure_future(cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60))
    await model.running.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    model.free.set()
    assert await cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60) == b"computed 1"


async def test_a_failure_is_everybody_s_and_not_kept(
    redis_server: RedisServer, open_cache: Open
) -> None:
    cache, model = open_cache(kept_in(redis_server.url)), Model(InputError("too long"))
    model.free.set()
    asking = [cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60) for _ in range(3)]
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in errors] == 3 * ["too long"]
    assert model.runs == 1
    well = Model()
    well.free.set()
    # The lease was given back: nobody waits for thirty seconds.
    again = cache.get_or_compute(HANDLE, well, Policy.DEFAULT, ttl_s=60)
    assert await asyncio.wait_for(again, 5) == b"computed 1"


async def test_what_is_computed_while_it_is_purged_is_not_kept(open_cache: Open) -> None:
    cache, model = open_cache(kept_in()), Model()
    asking = asyncio.ensure_future(cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60))
    await model.running.wait()
    await cache.purge("f00d")
    model.free.set()
    assert await asking == b"computed 1"
    with pytest.raises(NotRememberedError):
        await cache.fetch(HANDLE)


async def test_only_so_many_are_computed_at_once(
    open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "MAX_COMPUTED", 1)
    cache, model = open_cache(kept_in()), Model()
    asking = asyncio.ensure_future(cache.get_or_compute(HANDLE, model, Policy.DEFAULT, ttl_s=60))
    await asyncio.sleep(0)
    other = ContextCache.handle("f00d", 32 * "b")
    with pytest.raises(OverloadedError, match="1 contexts are being computed"):
        await cache.get_or_compute(other, model, Policy.DEFAULT, ttl_s=60)
    model.free.set()
    assert await asking
