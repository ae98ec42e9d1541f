"""The shared tier against a real Redis: in health, absent, frozen, killed, full, and not one."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop
from cache_support import Clock, garbage_server, settings, took_s
from redis_server import RedisServer

from tamis.server.cache import link
from tamis.server.cache.link import READS
from tamis.server.cache.redis import RedisTier
from tamis.server.cache.settings import CacheSettings
from tamis.server.cache.writer import MAX_PENDING, MAX_PENDING_BYTES

SHORT_MS = 50.0
SLACK_S = 0.4  # less than BACKGROUND_S: nobody waited for that

Tier = RedisTier[bytes]
Open = Callable[..., Tier]


def ours(data: bytes) -> bytes | None:
    return data if data.startswith(b"ours") else None


@pytest_asyncio.fixture
async def open_tier() -> AsyncIterator[Open]:
    """Makes tiers that are closed at the end."""
    tiers: list[Tier] = []

    def make(settings: CacheSettings, clock: Clock | None = None) -> Tier:
        tiers.append(RedisTier(settings, ours, clock=clock or Clock()))
        return tiers[-1]

    yield make
    for tier in tiers:
        await tier.close()


async def test_what_one_process_writes_another_reads(
    redis_server: RedisServer, open_tier: Open
) -> None:
    one, other = open_tier(settings(redis_server.url)), open_tier(settings(redis_server.unix_url))
    one.set("a", b"ours 1")
    await one.settle()
    assert await other.get("a") == b"ours 1"
    assert await other.get("b") is None
    stats = other.stats()
    assert (stats.tier, stats.hits, stats.misses, stats.errors) == ("redis", 1, 1, 0)


async def test_an_entry_expires(redis_server: RedisServer, open_tier: Open) -> None:
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.settle()
    ttl_s = int(redis_server.command("TTL", "a")[1:])
    assert 0 < ttl_s <= CacheSettings().redis_ttl_s


async def test_what_is_not_ours_is_a_miss_and_can_be_replaced(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    redis_server.command("SET", "text", "somebody else's")
    redis_server.command("LPUSH", "list", "a list")
    assert await tier.get("text") is None
    assert await tier.get("list") is None
    tier.set("text", b"ours")
    tier.set("list", b"ours")
    await tier.settle()
    assert await tier.get("text") == await tier.get("list") == b"ours"


async def test_a_failure_now_and_then_does_not_open_the_breaker(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url, failures=2))
    redis_server.command("LPUSH", "list", "not a string: an error")
    tier.set("a", b"ours")
    await tier.settle()
    for _ in range(5):
        assert await tier.get("list") is None
        assert await tier.get("a") == b"ours"


async def test_redis_may_come_after_the_server(redis_server: RedisServer, open_tier: Open) -> None:
    redis_server.stop()
    tier = open_tier(settings(redis_server.url))
    await tier.warm_up()
    assert await tier.get("a") is None
    redis_server.start()
    tier.set("a", b"ours")
    await tier.settle()
    assert await tier.get("a") == b"ours"


async def test_redis_may_be_killed_and_come_back_while_in_use(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.settle()
    assert await tier.get("a") == b"ours"
    redis_server.stop()
    assert await tier.get("a") is None
    assert await took_s(tier.settle()) < SLACK_S, "it is not tried again and again"
    assert tier.stats().errors == 1
    redis_server.start()
    assert await tier.get("a") is None  # it kept nothing on disk
    tier.set("a", b"ours")
    await tier.settle()
    assert await tier.get("a") == b"ours"
    assert tier.stats().errors == 1


async def test_a_connection_that_redis_closed_costs_one_miss_at_most(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.settle()
    redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    found = [await tier.get("a"), await tier.get("a")]
    assert found[1] == b"ours"
    assert tier.stats().errors == found.count(None)


async def test_a_frozen_redis_costs_the_budget_a_few_times_and_then_nothing(
    redis_server: RedisServer, open_tier: Open, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    patient = open_tier(settings(redis_server.url))
    patient.set("a", b"ours")
    await patient.settle()
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS), clock)
    await tier.warm_up()

    redis_server.freeze()
    for _ in range(3):
        assert await took_s(tier.get("a")) < SHORT_MS / 1e3 + SLACK_S
    assert tier.stats().errors == 3
    assert await took_s(asyncio.gather(*(tier.get("a") for _ in range(100)))) < SLACK_S / 4
    tier.set("a", b"ours too")
    assert tier.stats().errors == 4, "the dropped write; reads no longer try"
    assert tier.dropped == 1

    redis_server.thaw()
    clock.now = 5.0
    assert await tier.get("a") is None  # nobody waits for the probe
    await tier.settle()
    assert await tier.get("a") == b"ours"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "left alone for 5 s" in caplog.text


async def test_many_at_once_do_not_hide_a_frozen_redis(
    redis_server: RedisServer, open_tier: Open
) -> None:
    """Those who wait for a connection that the first ones hold have waited for Redis too."""
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS))
    redis_server.freeze()
    for wave in range(1, 4):
        assert await took_s(asyncio.gather(*(tier.get("a") for _ in range(3 * READS)))) < SLACK_S
        assert tier.stats().errors == wave * 3 * READS
    assert await took_s(tier.get("a")) < SHORT_MS / 1e3
    assert tier.stats().errors == 9 * READS
    redis_server.thaw()


async def test_a_probe_that_fails_keeps_redis_left_alone(
    redis_server: RedisServer, open_tier: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKGROUND_S", 0.2)
    clock = Clock()
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS, failures=1), clock)
    redis_server.freeze()
    assert await tier.get("a") is None
    for now in (5.0, 10.0, 15.0):
        clock.now = now
        assert await took_s(tier.get("a")) < SHORT_MS / 1e3
        await tier.settle()
    redis_server.thaw()
    clock.now = 20.0
    await tier.get("a")
    await tier.settle()
    tier.set("a", b"ours")
    await tier.settle()
    assert await tier.get("a") == b"ours"


async def test_a_slow_connection_is_there_for_the_next_call(
    redis_server: RedisServer, open_tier: Open
) -> None:
    """As with TLS in another zone: opening takes longer than a search may wait."""
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS))
    redis_server.freeze()  # the kernel accepts, the handshake waits
    assert await tier.get("a") is None
    redis_server.thaw()
    await tier.settle()
    before = redis_server.command("INFO", "stats")
    tier.set("a", b"ours")
    await tier.settle()
    assert await tier.get("a") == b"ours"

    def connections(info: bytes) -> int:
        (line,) = [row for row in info.splitlines() if row.startswith(b"total_connections_rec")]
        return int(line.partition(b":")[2])

    ours_to_ask = 1
    assert connections(redis_server.command("INFO", "stats")) == connections(before) + ours_to_ask


async def test_a_full_redis_refuses_writes_and_still_answers_reads(
    redis_server: RedisServer, open_tier: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.settle()
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    for _ in range(20):
        tier.set("b", b"ours")
        await tier.settle()
    assert tier.stats().errors == 20
    assert await tier.get("a") == b"ours"
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    tier.set("b", b"ours")
    await tier.settle()
    assert await tier.get("b") == b"ours"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_redis_that_wants_a_password_is_one_that_does_not_answer(
    redis_server: RedisServer, open_tier: Open
) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "secret")
    tier = open_tier(settings(redis_server.url))
    for _ in range(4):
        assert await tier.get("a") is None
    assert tier.stats().errors == 3
    known = open_tier(settings(redis_server.url.replace("//", "//:secret@")))
    known.set("a", b"ours")
    await known.settle()
    assert await known.get("a") == b"ours"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff" * 500,
        b"+OK\r\n",
        b":1\r\n",
        b"-ERR no\r\n",
        b"*2\r\n+a\r\n*-1\r\n",
        b"$9999\r\nand then nothing",
        b"$3\r\nyes\r\n" * 9,
        b"",
    ],
    ids=[
        "http", "binary", "ok", "number", "error", "list", "half a value", "too many", "hangs up",
    ],
)  # fmt: skip
async def test_something_that_is_no_redis_is_survived(
    nonsense: bytes, open_tier: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKGROUND_S", 0.2)
    async with garbage_server(nonsense) as url:
        tier = open_tier(settings(url, timeout_ms=SHORT_MS))
        await tier.warm_up()
        for _ in range(5):
            tier.set("a", b"ours")
            assert await took_s(tier.get("a")) < SHORT_MS / 1e3 + SLACK_S
        assert await tier.get("a") is None
        assert await tier.purge("a") <= 2
        await tier.settle()
        stats = tier.stats()
        assert stats.hits == 0
        await tier.close()


async def test_writes_that_wait_are_bounded_in_number(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    for i in range(MAX_PENDING + 10):
        tier.set(str(i), b"ours")
    assert tier.dropped == 10
    await tier.settle()
    assert redis_server.command("DBSIZE") == b":%d\r\n" % MAX_PENDING


async def test_writes_that_wait_are_bounded_in_bytes(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    quarter = b"ours" * (MAX_PENDING_BYTES // 16)
    for i in range(5):
        tier.set(str(i), quarter)
    assert tier.dropped == 2  # the keys count too
    await tier.settle()
    for _ in range(9):
        tier.set("again and again", quarter)
    assert tier.dropped == 2
    await tier.settle()
    tier.set("again", quarter)
    await tier.settle()
    assert await tier.get("again") == quarter


async def test_a_caller_that_leaves_is_told_so_and_harms_nobody(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.settle()
    redis_server.freeze()
    calls = [asyncio.create_task(tier.get("a")) for _ in range(20)]
    await asyncio.sleep(0)  # let them begin
    for call in calls:
        call.cancel()
    assert all(
        isinstance(outcome, asyncio.CancelledError)
        for outcome in await asyncio.gather(*calls, return_exceptions=True)
    )
    redis_server.thaw()
    assert await tier.get("a") == b"ours"
    assert tier.stats().errors == 0


async def test_many_at_once_share_a_few_connections(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url, timeout_ms=30_000))
    tier.set("a", b"ours")
    await tier.settle()
    found = await asyncio.gather(*(tier.get("a") for _ in range(500)))
    assert found == [b"ours"] * 500
    clients = redis_server.command("CLIENT", "LIST").count(b" addr=")
    assert clients <= READS + 2  # the writer's and that of this question


async def test_a_rush_for_a_healthy_redis_does_not_open_the_breaker(
    redis_server: RedisServer, open_tier: Open
) -> None:
    """Far more at once than the budget has time for: those at the end go without, and that's it."""
    clock = Clock()
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS), clock)
    tier.set("a", b"ours")
    await tier.settle()
    await asyncio.gather(*(tier.get("a") for _ in range(3_000)))
    await tier.settle()
    assert await tier.get("a") == b"ours"


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_an_answer_that_came_while_this_process_was_busy_is_taken(
    new_loop: Callable[[], asyncio.AbstractEventLoop], redis_server: RedisServer
) -> None:
    async def search() -> bytes | None:
        tier = RedisTier(settings(redis_server.url, timeout_ms=SHORT_MS), ours)
        tier.set("a", b"ours")
        await tier.settle()
        await tier.get("a")
        call = asyncio.create_task(tier.get("a"))
        for _ in range(3):  # until it has asked
            await asyncio.sleep(0)
        time.sleep(2 * SHORT_MS / 1e3)  # noqa: ASYNC251 - a model that holds the GIL
        found = await call
        await tier.close()
        return found

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(search()) == b"ours"


async def test_a_purge_takes_what_begins_so_and_nothing_else(
    redis_server: RedisServer, open_tier: Open
) -> None:
    tier = open_tier(settings(redis_server.url))
    for start in range(0, 2_500, 250):
        for i in range(start, start + 250):
            tier.set(f"x:{i}", b"ours")
        await tier.settle()
    tier.set("xy:1", b"ours")
    tier.set("x:written while purging", b"ours")
    assert await tier.purge("x:") == 2_500
    await tier.settle()
    assert redis_server.command("KEYS", "*") == b"*1\r\n$4\r\nxy:1\r\n"


async def test_a_purge_without_redis_says_so_in_the_log(
    redis_server: RedisServer, open_tier: Open, caplog: pytest.LogCaptureFixture
) -> None:
    tier = open_tier(settings(redis_server.url))
    redis_server.stop()
    assert await tier.purge("x:") == 0
    assert "ended early" in caplog.text


async def test_closing_writes_what_is_pending(redis_server: RedisServer, open_tier: Open) -> None:
    tier = open_tier(settings(redis_server.url))
    tier.set("a", b"ours")
    await tier.close()
    assert await open_tier(settings(redis_server.url)).get("a") == b"ours"


async def test_closing_does_not_wait_for_a_frozen_redis(
    redis_server: RedisServer, open_tier: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKGROUND_S", 0.2)
    tier = open_tier(settings(redis_server.url, timeout_ms=SHORT_MS))
    redis_server.freeze()
    tier.set("a", b"ours" * 100_000)
    await tier.get("a")
    assert await took_s(tier.close()) < 1.0
