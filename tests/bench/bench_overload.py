"""Half as much again as the server can do: what still comes in time, and what work is wasted.

A real server with the default settings; the client is this process, on the same cores. Each round
measures the capacity (a closed loop), then offers 150 % of it with a deadline (an open loop,
Poisson), so that a noisy machine is noisy for both. Then all of a crowd of calls are cancelled at
once, and the batches that the models begin after that are counted.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvloop
from drawings import documents
from load_calls import METHODS, Target
from load_loops import Call, closed_loop, open_loop, starts
from load_report import SHED, Report
from load_server import Watched, watched

from tamis.client import Client

pytestmark = pytest.mark.bench
ROUNDS, CAPACITY_S, OVERLOAD_S = 3, 4.0, 6.0
EXCESS = 1.5
# Of each method: callers that keep the server busy, and the deadline in seconds.
LOADS = {"embed": (32, 0.25), "search": (8, 0.5), "session": (8, 0.5)}
STORMS, CROWD, CROWD_S, SETTLED_S = 5, 256, 0.1, 1.0
BATCHES, INPUTS, DEPTH = "tamis_batch_size_count", "tamis_batch_size_sum", "tamis_queue_depth"


@dataclass
class Round:
    """One measurement of capacity and overload."""

    capacity: float
    report: Report
    depths: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("overload") / "data") as own:
        with Client(own.served.target) as client:
            client.create_collection("drawings")
            client.upsert("drawings", documents())
        yield own


@pytest.mark.parametrize("method", LOADS)
def test_overload(method: str, server: Watched) -> None:
    uvloop.run(overload(method, server))


async def overload(method: str, server: Watched) -> None:
    callers, deadline_s = LOADS[method]
    async with calls(method, server, deadline_s=10) as call:
        await closed_loop(call, callers, 1.0, deadline_s=10)  # warm up
    rounds = []
    for _ in range(ROUNDS):
        async with calls(method, server, deadline_s=10) as call:
            capacity = await closed_loop(call, callers, CAPACITY_S, deadline_s=10)
            assert capacity.good, f"nothing comes in time: {capacity.codes}"
        async with calls(method, server, deadline_s=deadline_s) as call, sampling(server) as depths:
            times = starts(EXCESS * capacity.goodput, OVERLOAD_S, "poisson")
            report = await open_loop(call, times, deadline_s=deadline_s)
        rounds.append(Round(capacity.goodput, report, depths))
    show(method, deadline_s, rounds)


@asynccontextmanager
async def calls(method: str, server: Watched, *, deadline_s: float) -> AsyncIterator[Call]:
    target = Target(
        address=server.served.target, deadline_s=deadline_s, collection="drawings", k=10
    )
    async with METHODS[method](target) as call:
        yield call


@asynccontextmanager
async def sampling(server: Watched, every_s: float = 0.25) -> AsyncIterator[list[float]]:
    """How many inputs wait for a batch, all models together, while the block runs."""
    depths: list[float] = []

    async def sample() -> None:
        while True:
            depths.append((await server.sample()).total(DEPTH))
            await asyncio.sleep(every_s)

    task = asyncio.create_task(sample())
    try:
        yield depths
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def show(method: str, deadline_s: float, rounds: list[Round]) -> None:
    def median(figure: Callable[[Round], float]) -> float:
        return statistics.median(map(figure, rounds))

    ratios = [one.report.goodput / one.capacity for one in rounds]
    print(f"\n{method}: {EXCESS:.0%} of the capacity, deadline {1e3 * deadline_s:.0f} ms")
    print(f"  capacity           {median(lambda r: r.capacity):7.1f}/s")
    print(
        f"  goodput            {median(lambda r: r.report.goodput):7.1f}/s, of the capacity "
        f"{statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
    )
    p50 = 1e3 * median(lambda r: r.report.last.quantile_s(0.5))
    p99 = 1e3 * median(lambda r: r.report.last.quantile_s(0.99))
    print(f"  of those OK        p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    shed = median(lambda r: r.report.codes[SHED] / r.report.offered)
    expired = median(lambda r: r.report.codes["DEADLINE_EXCEEDED"] / r.report.offered)
    left_out = median(lambda r: r.report.skipped / r.report.offered)
    print(f"  shed {shed:.1%}, expired {expired:.1%}, with a stage left out {left_out:.1%}")
    for one in rounds:
        third = max(1, len(one.depths) // 3)
        parts = [one.depths[:third], one.depths[third : 2 * third], one.depths[2 * third :]]
        means = ", ".join(f"{statistics.mean(part):.0f}" for part in parts if part)
        print(f"  queue depth, by thirds of the time: {means}; at most {max(one.depths):.0f}")


@pytest.mark.parametrize("method", ["embed", "search"])
def test_cancel_storm(method: str, server: Watched) -> None:
    uvloop.run(storms(method, server))


async def storms(method: str, server: Watched) -> None:
    crowd = CROWD if method == "embed" else 64
    begun, done = [], []
    async with calls(method, server, deadline_s=30) as call:
        await call(0)
        for storm in range(STORMS):
            before = await server.sample()
            tasks = [asyncio.create_task(one(call, storm * crowd + n)) for n in range(crowd)]
            await asyncio.sleep(CROWD_S)
            at_cancel = await server.sample()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(SETTLED_S)
            after = await server.sample()
            begun.append(after.total(BATCHES) - at_cancel.total(BATCHES))
            done.append(after.total(INPUTS) - before.total(INPUTS))
    print(
        f"\n{method}: {crowd} calls, cancelled after {1e3 * CROWD_S:.0f} ms, {STORMS} times: "
        f"batches begun after that: median {statistics.median(begun):.0f}, at most "
        f"{max(begun):.0f}; inputs encoded in all: median {statistics.median(done):.0f}"
    )


async def one(call: Call, number: int) -> None:
    await call(number)
