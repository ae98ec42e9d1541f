"""How long a remembered query embedding takes: one dense float32 vector of 384, on one loop.

Local hit, Redis hit (a real redis-server on this machine, over TCP and a Unix socket), and 1,000
callers of one cold key whose computation takes 10 ms: in one process, and in two that share the
Redis. The event loop is uvloop, as in the server.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uvloop
from lease_processes import go, worker
from redis_server import RedisServer, running

from tamis.models.types import Side
from tamis.server.cache import codec, keys
from tamis.server.cache.embeddings import EmbeddingCache, Representations
from tamis.server.cache.settings import CacheSettings

RUNS = 3_000
CALLERS = 1_000
COMPUTE_S = 0.01
VALUE: Representations = {"dense": np.linspace(-1, 1, 384, dtype=np.float32)}
KEY = EmbeddingCache.key("f00d" * 4, keys.content_digest(side=Side.QUERY, text="a red bicycle"))


async def compute() -> Representations:
    return VALUE


async def times_us(
    call: Callable[[], Awaitable[object]], runs: int = RUNS, warm_up: int = 300
) -> list[float]:
    times = []
    for i in range(runs + warm_up):
        start = time.perf_counter()
        await call()
        if i >= warm_up:
            times.append(1e6 * (time.perf_counter() - start))
    return times


def row(name: str, times: list[float]) -> None:
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    print(f"{name:34} p50 {p50:9.1f} us  p99 {p99:9.1f} us  min {min(times):9.1f} us")


def sync_us(call: Callable[[], object]) -> list[float]:
    times = []
    for i in range(RUNS + 300):
        start = time.perf_counter()
        call()
        if i >= 300:
            times.append(1e6 * (time.perf_counter() - start))
    return times


async def hits(url: str, unix_url: str) -> None:
    local = EmbeddingCache(CacheSettings())
    await local.get_or_compute(KEY, compute)
    row("local hit", await times_us(lambda: local.get_or_compute(KEY, compute)))
    for name, address in (("Redis hit, TCP", url), ("Redis hit, Unix socket", unix_url)):
        settings = CacheSettings(local_bytes=0, redis_url=address, redis_timeout_ms=1_000)
        cache = EmbeddingCache(settings)
        await cache.warm_up()
        await cache.get_or_compute(KEY, compute)
        await cache.settle()
        row(name, await times_us(lambda cache=cache: cache.get_or_compute(KEY, compute)))  # type: ignore[misc]
        stats = cache.stats()[0]
        print(f"{'':34} {stats.hits} hits, {stats.misses} misses, {stats.errors} errors")
        await cache.close()


async def crowd(settings: CacheSettings, name: str) -> None:
    computed = 0

    async def slow() -> Representations:
        nonlocal computed
        computed += 1
        await asyncio.sleep(COMPUTE_S)
        return VALUE

    cache = EmbeddingCache(settings)
    await cache.warm_up()
    times = []
    for i in range(10):
        start = time.perf_counter()
        calls = (cache.get_or_compute(f"{KEY}{i}", slow) for _ in range(CALLERS))
        await asyncio.gather(*calls)
        times.append(1e6 * (time.perf_counter() - start))
    row(f"{CALLERS} callers, {name}", times)
    print(f"{'':34} {computed} computations for {len(times)} cold keys")
    await cache.close()


def processes(server: RedisServer) -> None:
    """The same crowd, half in each of two worker processes."""
    with ExitStack() as stack:
        halves = [
            stack.enter_context(
                worker(
                    server.url, f"{KEY}shared", callers=CALLERS // 2, lease_s=10, seconds=COMPUTE_S
                )
            )
            for _ in range(2)
        ]
        for half in halves:
            go(half)
        said = [half.communicate(timeout=60)[0].splitlines() for half in halves]
    computed = sum(line == "computing" for lines in said for line in lines)
    name = f"{CALLERS} callers, two processes"
    print(f"{name:34} {computed} computation; {' | '.join(lines[-1] for lines in said)}")


@pytest.mark.bench
def test_cache(tmp_path: Path) -> None:
    data = codec.encode(VALUE)
    print()
    row("encode", sync_us(lambda: codec.encode(VALUE)))
    row("decode", sync_us(lambda: codec.decode(data)))
    row("key of a short text", sync_us(lambda: EmbeddingCache.key(
        "f00d" * 4, keys.content_digest(side=Side.QUERY, text="a red bicycle")
    )))  # fmt: skip
    with running(tmp_path) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(hits(server.url, server.unix_url))
        both = CacheSettings(redis_url=server.url, redis_timeout_ms=1_000)
        runner.run(crowd(replace(both, redis_url=""), "local"))
        runner.run(crowd(both, "with Redis"))
        processes(server)
