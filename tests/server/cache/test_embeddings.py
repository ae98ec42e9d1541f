"""The tiers together: who is asked, who computes, and what happens when somebody leaves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio
from cache_support import Clock, garbage_server, settings, took_s
from redis_server import RedisServer

from tamis.models.types import Representation
from tamis.server.cache import NotRememberedError, codec, link
from tamis.server.cache.embeddings import EmbeddingCache, Policy, Representations, Source
from tamis.server.cache.settings import CacheSettings
from tamis.server.metrics import Metrics

KEY = EmbeddingCache.key("f00d", "0" * 32)
OTHER = EmbeddingCache.key("beef", "0" * 32)
LOCAL_BYTES = 1 << 20
LOCAL = CacheSettings(local_bytes=LOCAL_BYTES)
SHORT_MS = 50.0
SLACK_S = 0.4

Open = Callable[..., EmbeddingCache]


class Encoder:
    """Counts how often it computes; computes when it is let."""

    def __init__(self, *, busy: bool = False, error: Exception | None = None) -> None:
        self.started = 0
        self.cancelled = 0
        self.running = asyncio.Event()
        self.go = asyncio.Event()
        self._error = error
        if not busy:
            self.go.set()

    async def __call__(self) -> Representations:
        self.started += 1
        number = self.started
        self.running.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        return {"dense": np.full(4, number, np.float32)}


def number(value: Representations) -> int:
    """Which computation a value is of."""
    dense = value["dense"]
    assert isinstance(dense, np.ndarray)
    return int(dense[0])


@pytest_asyncio.fixture
async def open_cache() -> AsyncIterator[Open]:
    caches: list[EmbeddingCache] = []

    def make(settings: CacheSettings = LOCAL, **more: object) -> EmbeddingCache:
        caches.append(EmbeddingCache(settings, **more))  # type: ignore[arg-type]
        return caches[-1]

    yield make
    for cache in caches:
        await cache.close()


@pytest_asyncio.fixture(params=["local", "redis", "both", "none"])
async def cache(
    request: pytest.FixtureRequest, redis_server: RedisServer, open_cache: Open
) -> EmbeddingCache:
    """With each choice of tiers."""
    url = redis_server.url if request.param in {"redis", "both"} else ""
    local_bytes = LOCAL_BYTES if request.param in {"local", "both"} else 0
    return open_cache(settings(url, local_bytes=local_bytes))


async def test_each_tier_is_asked_in_turn(redis_server: RedisServer, open_cache: Open) -> None:
    encoder = Encoder()
    one = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    other = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    value, source = await one.get_or_compute(KEY, encoder)
    assert (number(value), source) == (1, Source.ENCODER)
    await one.settle()
    for cache, expected in ((one, Source.LOCAL), (other, Source.REDIS), (other, Source.LOCAL)):
        value, source = await cache.get_or_compute(KEY, encoder)
        assert (number(value), source) == (1, expected)
    assert encoder.started == 1
    local, shared = other.stats()
    assert (local.hits, local.misses) == (1, 1)
    assert (shared.hits, shared.misses) == (1, 0)
    assert local.bytes > 0


async def test_every_look_up_is_counted_for_prometheus(
    redis_server: RedisServer, open_cache: Open
) -> None:
    metrics = Metrics()
    cache = open_cache(
        settings(redis_server.url, local_bytes=LOCAL_BYTES, failures=1), metrics=metrics
    )

    def counted(tier: str) -> dict[str, float]:
        return {
            sample.labels["result"]: sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "tamis_cache_requests_total"
            and sample.labels["tier"] == tier
            and sample.value
        }

    await asyncio.gather(*(cache.get_or_compute(KEY, Encoder()) for _ in range(3)))
    await cache.settle()
    await cache.get_or_compute(KEY, Encoder())
    await open_cache(settings(redis_server.url), metrics=Metrics()).get_or_compute(KEY, Encoder())
    redis_server.stop()
    for key in (OTHER, f"{OTHER}1"):
        await cache.get_or_compute(key, Encoder())
    assert counted("local") == {"hit": 1, "miss": 5, "coalesced": 2}
    assert counted("redis") == {"miss": 1, "error": 1, "skipped": 1, "dropped": 2}
    took = metrics.registry.get_sample_value("tamis_cache_latency_seconds_count", {"tier": "redis"})
    assert took == 1


async def test_a_value_is_the_same_wherever_it_comes_from(
    redis_server: RedisServer, open_cache: Open
) -> None:
    made: dict[str, Representation] = {"multi": np.ones((3, 4), np.float16)[:, ::2]}

    async def compute() -> Representations:
        return made

    one = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    other = open_cache(settings(redis_server.url))
    found = [await one.get_or_compute(KEY, compute), await one.get_or_compute(KEY, compute)]
    await one.settle()
    found.append(await other.get_or_compute(KEY, compute))
    assert [source for _, source in found] == [Source.ENCODER, Source.LOCAL, Source.REDIS]
    for value, _ in found:
        multi = value["multi"]
        assert isinstance(multi, np.ndarray)
        assert multi.dtype == np.float16
        assert not multi.flags.writeable
        np.testing.assert_array_equal(multi, np.ones((3, 2)))


async def test_a_kept_row_does_not_hold_its_batch(open_cache: Open) -> None:
    batch = np.ones((1_000, 4), np.float32)

    async def compute() -> Representations:
        return {"dense": batch[7]}

    value, _ = await open_cache().get_or_compute(KEY, compute)
    assert not np.shares_memory(value["dense"], batch)


async def test_bypass_neither_reads_nor_writes(cache: EmbeddingCache) -> None:
    encoder = Encoder()
    for expected in (1, 2):
        value, source = await cache.get_or_compute(KEY, encoder, Policy.BYPASS)
        assert (number(value), source) == (expected, Source.ENCODER)
    value, source = await cache.get_or_compute(KEY, encoder)
    assert (number(value), source) == (3, Source.ENCODER)


async def test_refresh_computes_and_keeps(redis_server: RedisServer, open_cache: Open) -> None:
    encoder = Encoder()
    one = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    other = open_cache(settings(redis_server.url))
    await one.get_or_compute(KEY, encoder)
    value, source = await one.get_or_compute(KEY, encoder, Policy.REFRESH)
    assert (number(value), source) == (2, Source.ENCODER)
    await one.settle()
    for cache, expected in ((one, Source.LOCAL), (other, Source.REDIS)):
        value, source = await cache.get_or_compute(KEY, encoder)
        assert (number(value), source) == (2, expected)


async def test_only_reads_and_never_computes(redis_server: RedisServer, open_cache: Open) -> None:
    encoder = Encoder()
    one = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    other = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    calls = (other.get_or_compute(KEY, encoder, Policy.ONLY) for _ in range(10))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotRememberedError] * 10
    assert encoder.started == 0
    await one.get_or_compute(KEY, encoder)
    await one.settle()
    for expected in (Source.REDIS, Source.LOCAL):
        assert (await other.get_or_compute(KEY, encoder, Policy.ONLY))[1] is expected
    redis_server.stop()
    with pytest.raises(NotRememberedError, match="cache_policy is ONLY"):
        await other.get_or_compute(OTHER, encoder, Policy.ONLY)
    assert encoder.started == 1


@pytest.mark.parametrize("policy", [Policy.DEFAULT, Policy.REFRESH])
async def test_a_thousand_callers_of_a_cold_key_cost_one_computation(
    cache: EmbeddingCache, policy: Policy
) -> None:
    encoder = Encoder(busy=True)
    calls = [asyncio.create_task(cache.get_or_compute(KEY, encoder, policy)) for _ in range(1_000)]
    await encoder.running.wait()
    encoder.go.set()
    found = await asyncio.gather(*calls)
    assert encoder.started == 1
    assert [source for _, source in found] == [Source.ENCODER] + [Source.COALESCED] * 999
    assert {number(value) for value, _ in found} == {1}


async def test_callers_who_share_a_redis_hit_are_told_so(
    redis_server: RedisServer, open_cache: Open
) -> None:
    one, other = (open_cache(settings(redis_server.url)) for _ in range(2))
    await one.get_or_compute(KEY, Encoder())
    await one.settle()
    found = await asyncio.gather(*(other.get_or_compute(KEY, Encoder()) for _ in range(10)))
    assert {source for _, source in found} == {Source.REDIS}
    assert other.stats()[0].hits == 1


async def test_different_keys_do_not_wait_for_each_other(cache: EmbeddingCache) -> None:
    slow = Encoder(busy=True)
    waiting = asyncio.create_task(cache.get_or_compute(KEY, slow))
    await slow.running.wait()
    value, _ = await cache.get_or_compute(OTHER, Encoder())
    assert number(value) == 1
    slow.go.set()
    await waiting


async def test_the_first_caller_may_leave_and_the_others_are_served(cache: EmbeddingCache) -> None:
    encoder = Encoder(busy=True)
    first = asyncio.create_task(cache.get_or_compute(KEY, encoder))
    await encoder.running.wait()
    others = [asyncio.create_task(cache.get_or_compute(KEY, encoder)) for _ in range(5)]
    await asyncio.sleep(0)  # let them join
    first.cancel()
    others[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    encoder.go.set()
    found = await asyncio.gather(*others[1:])
    assert {(number(value), source) for value, source in found} == {(1, Source.COALESCED)}
    assert (encoder.started, encoder.cancelled) == (1, 0)


async def test_the_computation_is_cancelled_when_the_last_caller_leaves(
    cache: EmbeddingCache,
) -> None:
    encoder = Encoder(busy=True)
    calls = [asyncio.create_task(cache.get_or_compute(KEY, encoder)) for _ in range(3)]
    await encoder.running.wait()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    encoder.go.set()
    value, source = await cache.get_or_compute(KEY, encoder)  # does not join what is ending
    assert (number(value), source) == (2, Source.ENCODER)
    assert encoder.cancelled == 1


async def test_nobody_joins_a_computation_that_is_ending(cache: EmbeddingCache) -> None:
    """A cancelled model may take its time to stop."""
    stopping, stop = asyncio.Event(), asyncio.Event()

    async def stubborn() -> Representations:
        try:
            return await slow()
        except asyncio.CancelledError:
            stopping.set()
            await stop.wait()
            raise

    slow = Encoder(busy=True)
    call = asyncio.create_task(cache.get_or_compute(KEY, stubborn))
    await slow.running.wait()
    call.cancel()
    await stopping.wait()
    try:
        async with asyncio.timeout(5):
            value, source = await cache.get_or_compute(KEY, Encoder())
    finally:
        stop.set()
    assert (number(value), source) == (1, Source.ENCODER)


async def test_an_error_is_everybodys_and_is_not_remembered(cache: EmbeddingCache) -> None:
    error = OSError("the model fell over")
    encoder = Encoder(busy=True, error=error)
    calls = [asyncio.create_task(cache.get_or_compute(KEY, encoder)) for _ in range(10)]
    await encoder.running.wait()
    encoder.go.set()
    assert await asyncio.gather(*calls, return_exceptions=True) == [error] * 10
    assert encoder.started == 1
    _, source = await cache.get_or_compute(KEY, Encoder())
    assert source is Source.ENCODER


async def test_a_personal_error_stays_with_its_caller(open_cache: Open) -> None:
    """As when the first caller's deadline passes, and with it its place in the queue."""
    cache = open_cache(personal=(TimeoutError,))
    late, good = Encoder(busy=True, error=TimeoutError("late")), Encoder()
    first = asyncio.create_task(cache.get_or_compute(KEY, late))
    await late.running.wait()
    others = [asyncio.create_task(cache.get_or_compute(KEY, good)) for _ in range(10)]
    await asyncio.sleep(0)  # let them join
    late.go.set()
    found = await asyncio.gather(*others)
    with pytest.raises(TimeoutError, match="late"):
        await first
    assert (late.started, good.started) == (1, 1)
    assert sorted(source for _, source in found) == [Source.COALESCED] * 9 + [Source.ENCODER]


async def test_a_computation_that_is_cancelled_from_below_is_not_remembered(
    cache: EmbeddingCache,
) -> None:
    async def compute() -> Representations:
        raise asyncio.CancelledError

    calls = [asyncio.create_task(cache.get_or_compute(KEY, compute)) for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert (await cache.get_or_compute(KEY, Encoder()))[1] is Source.ENCODER


async def test_what_cannot_be_kept_is_still_served(
    open_cache: Open, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache()

    async def compute() -> Representations:
        return {"dense": np.ones((1, 1, 1), np.float32)}

    for _ in range(2):
        value, source = await cache.get_or_compute(KEY, compute)
        assert np.shape(value["dense"]) == (1, 1, 1)  # type: ignore[arg-type]
        assert source is Source.ENCODER
    assert len(caplog.records) == 1
    assert "not remembered" in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"somebody else's",
        lambda data: data[:-1],
        lambda data: data[:6] + b"\xff\x00" + data[8:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"",
    ],
    ids=["foreign", "cut short", "other version", "damaged", "empty"],
)
async def test_a_value_that_is_not_whole_is_computed_again_and_replaced(
    spoil: Callable[[bytes], bytes], redis_server: RedisServer, open_cache: Open
) -> None:
    redis_server.command("SET", KEY, spoil(codec.encode({"dense": np.zeros(4, np.float32)})))
    cache = open_cache(settings(redis_server.url))
    value, source = await cache.get_or_compute(KEY, Encoder())
    assert (number(value), source) == (1, Source.ENCODER)
    await cache.settle()
    assert (await cache.get_or_compute(KEY, Encoder()))[1] is Source.REDIS
    (stats,) = cache.stats()
    assert (stats.hits, stats.misses, stats.errors) == (1, 1, 0)


async def test_a_purge_forgets_one_encoders_work_in_both_tiers(
    redis_server: RedisServer, open_cache: Open
) -> None:
    cache = open_cache(settings(redis_server.url, local_bytes=LOCAL_BYTES))
    redis_server.command("SET", "tamis:2:embedding:f00d:0", "another version's")
    for key in (KEY, OTHER):
        await cache.get_or_compute(key, Encoder())
    await cache.settle()
    assert await cache.purge("f00d") == 2
    assert (await cache.get_or_compute(OTHER, Encoder()))[1] is Source.LOCAL
    assert (await cache.get_or_compute(KEY, Encoder()))[1] is Source.ENCODER
    await cache.settle()
    assert await cache.purge() == 4
    assert redis_server.command("DBSIZE") == b":1\r\n"


async def test_what_is_computed_during_a_purge_is_not_remembered(cache: EmbeddingCache) -> None:
    encoder = Encoder(busy=True)
    call = asyncio.create_task(cache.get_or_compute(KEY, encoder))
    await encoder.running.wait()
    await cache.purge()
    encoder.go.set()
    await call
    await cache.settle()
    assert (await cache.get_or_compute(KEY, encoder))[1] is Source.ENCODER


async def test_closing_cancels_what_is_being_computed(open_cache: Open) -> None:
    cache = open_cache()
    encoder = Encoder(busy=True)
    call = asyncio.create_task(cache.get_or_compute(KEY, encoder))
    await encoder.running.wait()
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert encoder.cancelled == 1


async def test_tiers_that_are_off_have_no_figures(redis_server: RedisServer) -> None:
    def tiers(url: str, local_bytes: int) -> list[str]:
        cache = EmbeddingCache(settings(url, local_bytes=local_bytes))
        return [stats.tier for stats in cache.stats()]

    assert tiers("", 0) == []
    assert tiers("", 1) == ["local"]
    assert tiers(redis_server.url, 0) == ["redis"]
    assert tiers(redis_server.url, 1) == ["local", "redis"]


async def test_with_redis_frozen_a_search_waits_its_budget_until_the_breaker_opens(
    redis_server: RedisServer, open_cache: Open
) -> None:
    cache = open_cache(settings(redis_server.url, timeout_ms=SHORT_MS), clock=Clock())
    redis_server.freeze()
    for i in range(3):
        took = await took_s(cache.get_or_compute(f"{KEY}{i}", Encoder()))
        assert SHORT_MS / 1e3 <= took < SHORT_MS / 1e3 + SLACK_S
    free = [await took_s(cache.get_or_compute(f"{KEY}{i}", Encoder())) for i in range(100)]
    assert sorted(free)[50] < 5e-3
    redis_server.thaw()


@pytest.mark.parametrize("how", ["dead", "full", "http", "half a value"])
async def test_with_redis_broken_every_search_is_answered(
    how: str, redis_server: RedisServer, open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKGROUND_S", 0.2)
    nonsense = {"http": b"HTTP/1.1 400 Bad Request\r\n\r\n", "half a value": b"$9999\r\nand"}
    async with garbage_server(nonsense.get(how, b"")) as nonsense_url:
        url = nonsense_url if how in nonsense else redis_server.url
        if how == "dead":
            redis_server.stop()
        if how == "full":
            redis_server.command("CONFIG", "SET", "maxmemory", "1")
        cache = open_cache(settings(url, timeout_ms=SHORT_MS))
        encoder = Encoder()
        for i in range(1, 21):
            work = cache.get_or_compute(f"{KEY}{i}", encoder)
            assert await took_s(work) < SHORT_MS / 1e3 + SLACK_S
        assert encoder.started == 20
        await cache.close()


async def test_redis_killed_under_load_fails_nobody(
    redis_server: RedisServer, open_cache: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    cache = open_cache(settings(redis_server.url, timeout_ms=SHORT_MS), clock=clock)
    encoder = Encoder()

    async def searches(start: int) -> None:
        for i in range(start, start + 50):
            value, _ = await cache.get_or_compute(f"{KEY}{i % 70}", encoder)
            assert number(value) > 0

    async def accident() -> None:
        await asyncio.sleep(0)
        redis_server.stop()

    await asyncio.gather(*(searches(10 * i) for i in range(10)), accident())
    redis_server.start()
    clock.now = 5.0
    await cache.get_or_compute(KEY, encoder)
    await cache.settle()
    await cache.get_or_compute(KEY, encoder)
    await cache.settle()
    assert (await cache.get_or_compute(KEY, encoder))[1] is Source.REDIS
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
