"""What several processes miss at once is computed by one of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from cache_support import settings, took_s
from lease_processes import go, said, worker
from redis_server import RedisServer, cluster

from tamis.server.cache.embeddings import EmbeddingCache, Policy, Representations, Source
from tamis.server.cache.lease import Lease

KEY = EmbeddingCache.key("f00d", "0" * 32)
LEASE = Lease(KEY, "somebody's").name
LEASE_S = 0.4
SLACK_S = 0.4

Open = Callable[..., EmbeddingCache]


class Model:
    """Counts how often it computes; computes when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.running = asyncio.Event()
        self.go = asyncio.Event()
        self._error = error

    async def __call__(self) -> Representations:
        self.started += 1
        self.running.set()
        await self.go.wait()
        if self._error is not None:
            raise self._error
        return {"dense": np.ones(4, np.float32)}


def ready_model() -> Model:
    model = Model()
    model.go.set()
    return model


@pytest_asyncio.fixture
async def open_cache(redis_server: RedisServer) -> AsyncIterator[Open]:
    """Makes caches, each of which stands for a process."""
    caches: list[EmbeddingCache] = []

    def make(url: str = redis_server.url, **more: Any) -> EmbeddingCache:
        named = replace(settings(url), **{"redis_lease_ms": 1_000 * LEASE_S, **more})
        caches.append(EmbeddingCache(named))
        return caches[-1]

    yield make
    for cache in caches:
        await cache.close()


def test_a_thousand_callers_over_two_processes_cost_one_computation(
    redis_server: RedisServer,
) -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(worker(redis_server.url, KEY, callers=500, lease_s=10))
            for _ in range(2)
        ]
        for process in processes:
            go(process)
        rests = [process.communicate(timeout=30)[0].splitlines() for process in processes]
    lines = [line for rest in rests for line in rest]
    assert lines.count("computing") == 1
    assert sorted(rest[-1] for rest in rests) == ["computed 0 right 500", "computed 1 right 500"]
    assert redis_server.command("EXISTS", LEASE) == b":0\r\n"


async def test_when_the_holder_is_killed_the_others_go_on_after_its_lease(
    redis_server: RedisServer, open_cache: Open
) -> None:
    model = ready_model()
    with worker(redis_server.url, KEY, lease_s=LEASE_S, seconds=60) as holder:
        go(holder)
        assert said(holder) == "computing"
        one, other = open_cache(), open_cache()
        works = [cache.get_or_compute(KEY, model) for cache in (one, other)]
        redis_server.command("PEXPIRE", LEASE, str(round(1_000 * LEASE_S)))  # from now on
        waiting = asyncio.gather(*works)
        await asyncio.sleep(0)  # let them begin
        holder.kill()
        took = await took_s(waiting)
    assert model.started == 1
    assert LEASE_S / 2 < took < LEASE_S + SLACK_S


async def test_a_waiter_goes_on_when_two_leases_have_passed(
    redis_server: RedisServer, open_cache: Open
) -> None:
    redis_server.command("SET", LEASE, "one holder's after the other")
    cache = open_cache()
    async with asyncio.timeout(5):
        took = await took_s(cache.get_or_compute(KEY, ready_model()))
    assert 2 * LEASE_S <= took < 2 * LEASE_S + SLACK_S


async def test_a_waiter_goes_on_in_time_for_its_deadline(open_cache: Open) -> None:
    slow, quick = Model(), ready_model()
    one, other = open_cache(redis_lease_ms=60_000.0), open_cache(redis_lease_ms=60_000.0)
    holder = asyncio.create_task(one.get_or_compute(KEY, slow))
    await slow.running.wait()
    deadline = asyncio.get_running_loop().time() + 1.0
    _, source = await other.get_or_compute(KEY, quick, deadline=deadline)
    assert source is Source.ENCODER
    assert asyncio.get_running_loop().time() < deadline
    slow.go.set()
    await holder


async def test_a_caller_in_a_hurry_hurries_those_it_joins(open_cache: Open) -> None:
    slow, quick = Model(), ready_model()
    one, other = open_cache(redis_lease_ms=60_000.0), open_cache(redis_lease_ms=60_000.0)
    holder = asyncio.create_task(one.get_or_compute(KEY, slow))
    await slow.running.wait()
    patient = asyncio.create_task(other.get_or_compute(KEY, quick))
    await asyncio.sleep(0)  # let it begin
    deadline = asyncio.get_running_loop().time() + 1.0
    _, source = await other.get_or_compute(KEY, quick, deadline=deadline)
    assert source is Source.COALESCED
    assert asyncio.get_running_loop().time() < deadline
    await patient
    assert quick.started == 1
    slow.go.set()
    await holder


@pytest.mark.parametrize("how", ["fails", "leaves"])
async def test_a_holder_without_result_gives_its_lease_back(how: str, open_cache: Open) -> None:
    failing, good = Model(OSError("the model fell over")), ready_model()
    one, other = open_cache(redis_lease_ms=60_000.0), open_cache(redis_lease_ms=60_000.0)
    holder = asyncio.create_task(one.get_or_compute(KEY, failing))
    await failing.running.wait()
    waiter = asyncio.create_task(other.get_or_compute(KEY, good))
    if how == "fails":
        failing.go.set()
    else:
        holder.cancel()
    async with asyncio.timeout(5):
        assert (await waiter)[1] is Source.ENCODER
    assert isinstance((await asyncio.gather(holder, return_exceptions=True))[0], BaseException)


async def test_a_lease_that_comes_too_late_is_given_back(
    redis_server: RedisServer, open_cache: Open
) -> None:
    hurried = open_cache(redis_timeout_ms=50.0, redis_lease_ms=60_000.0)
    await hurried.warm_up()
    redis_server.freeze()
    assert (await hurried.get_or_compute(KEY, ready_model()))[1] is Source.ENCODER
    redis_server.thaw()
    await hurried.settle()
    assert redis_server.command("EXISTS", LEASE) == b":0\r\n"


async def test_a_lease_is_not_ended_by_who_had_it_before(
    redis_server: RedisServer, open_cache: Open
) -> None:
    slow = Model()
    cache = open_cache()
    call = asyncio.create_task(cache.get_or_compute(KEY, slow))
    await slow.running.wait()
    redis_server.command("SET", LEASE, "the next one's")
    slow.go.set()
    await call
    await cache.settle()
    assert redis_server.command("GET", LEASE).endswith(b"the next one's\r\n")


@pytest.mark.parametrize("how", ["killed", "frozen", "garbage"])
async def test_when_redis_goes_while_others_wait_they_go_on(
    how: str, redis_server: RedisServer, open_cache: Open
) -> None:
    slow, quick = Model(), ready_model()
    one, other = (open_cache(redis_timeout_ms=100.0, redis_lease_ms=60_000.0) for _ in range(2))
    await one.warm_up()
    holder = asyncio.create_task(one.get_or_compute(KEY, slow))
    await slow.running.wait()
    await other.warm_up()
    waiter = asyncio.create_task(other.get_or_compute(KEY, quick))
    await asyncio.sleep(0)  # let it begin
    match how:
        case "killed":
            redis_server.stop()
        case "frozen":
            redis_server.freeze()
        case _:
            redis_server.command("SET", KEY, "somebody else's")
            redis_server.command("DEL", LEASE)
    assert await took_s(waiter) < SLACK_S
    slow.go.set()
    assert (await holder)[1] is Source.ENCODER
    if how == "frozen":
        redis_server.thaw()


async def test_a_redis_that_takes_no_writes_makes_nobody_wait(
    redis_server: RedisServer, open_cache: Open
) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    caches = [open_cache(redis_lease_ms=60_000.0) for _ in range(2)]
    works = [cache.get_or_compute(KEY, ready_model()) for cache in caches]
    assert await took_s(asyncio.gather(*works)) < SLACK_S


@pytest.mark.parametrize("policy", [Policy.REFRESH, Policy.BYPASS, Policy.DEFAULT])
async def test_without_need_or_wish_nobody_waits(policy: Policy, open_cache: Open) -> None:
    slow, quick = Model(), ready_model()
    lease_ms = 0.0 if policy is Policy.DEFAULT else 60_000.0
    one, other = open_cache(redis_lease_ms=lease_ms), open_cache(redis_lease_ms=lease_ms)
    holder = asyncio.create_task(one.get_or_compute(KEY, slow))
    await slow.running.wait()
    assert await took_s(other.get_or_compute(KEY, quick, policy)) < SLACK_S
    slow.go.set()
    await holder


async def test_in_a_cluster_a_lease_lies_with_its_key(tmp_path: Path, open_cache: Open) -> None:
    with cluster(tmp_path) as nodes:
        keys = [EmbeddingCache.key("f00d", str(i)) for i in range(20)]
        for key in keys:
            name = Lease(key, "").name
            slots = {nodes[0].command("CLUSTER", "KEYSLOT", each) for each in (key, name)}
            assert len(slots) == 1
        clustered = {"redis_mode": "cluster", "redis_lease_ms": 60_000.0}
        one, other = (open_cache(nodes[0].url, **clustered) for _ in range(2))
        models = [Model() for _ in keys]
        calls = [
            asyncio.create_task(cache.get_or_compute(key, model))
            for key, model in zip(keys, models, strict=True)
            for cache in (one, other)
        ]
        await asyncio.gather(*(model.running.wait() for model in models))
        for model in models:
            model.go.set()
        await asyncio.gather(*calls)
        assert [model.started for model in models] == [1] * len(keys)
        await one.settle()
        await other.settle()
        held = sum(int(node.command("DBSIZE")[1:]) for node in nodes)
        assert held == len(keys), "values; the leases have ended"
        await one.close()
        await other.close()
