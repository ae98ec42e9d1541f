"""Twenty searches a second, alone and beside writes, and how long a killed index is gone.

A real server with the default settings and 500 texts; the client is this process, on the same
cores. Rounds alternate, so that a noisy machine is noisy for both. Searches are answered again
between two kills; after each in a row the server waits twice as long, from 0.1 s, before it starts
the engine.
"""

import asyncio
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
from mixed_load import Load, kill_engine
from serving import Served, serving

from tamis.client import AsyncClient, Document

pytestmark = pytest.mark.bench
DOCUMENTS, ROUNDS, ROUND_S, KILLS = 500, 3, 8.0, 3
KINDS = {"idle": False, "writes beside": True}


def test_under_load(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as served:
        asyncio.run(measure(served))


async def measure(served: Served) -> None:
    texts = (Document(id=f"kept-{n}", text=f"A red bicycle, {n}.") for n in range(DOCUMENTS))
    async with AsyncClient(served.target) as client:
        await client.upsert("load", texts).final()
        await one_round(client, writes=False, seconds=2.0)  # warm up
        p95s: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(ROUNDS):
            for kind, writes in KINDS.items():
                load = await one_round(client, writes=writes, seconds=ROUND_S)
                times = 1e3 * np.array([seconds for _, seconds in load.answered])
                p95s[kind].append(float(np.percentile(times, 95)))
                print(
                    f"\n{kind:14} {len(times):4} searches, {len(load.refused)} refused, p50 "
                    f"{np.median(times):6.1f} ms, p95 {p95s[kind][-1]:6.1f} ms; "
                    f"{len(load.written) + len(load.deleted)} upserts, {len(load.deleted)} deletes",
                    end="",
                )
        ratios = [one / idle for idle, one in zip(*p95s.values(), strict=True)]
        print(f"\np95 beside writes is {statistics.median(ratios):.2f} x of the idle one", end=" ")
        print(f"(from {min(ratios):.2f} to {max(ratios):.2f})")
        for _ in range(KILLS):
            seconds, refused = await gone_s(client, served)
            print(f"killed: the next answer after {seconds:.2f} s; {refused} searches failed")


async def one_round(client: AsyncClient, *, writes: bool, seconds: float) -> Load:
    load = Load(client)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run(writes=writes))
        await asyncio.sleep(seconds)
        load.over.set()
    return load


async def gone_s(client: AsyncClient, served: Served) -> tuple[float, int]:
    """Seconds from a kill to the first answer of a search that began after it."""
    load = Load(client)
    running = asyncio.create_task(load.run())
    await load.until(running, lambda: load.answered)
    kill_engine(served)
    killed = time.monotonic()

    def back_s() -> list[float]:
        return [began + took - killed for began, took in load.answered if began > killed]

    await load.until(running, back_s)
    load.over.set()
    await running
    return min(back_s()), len(load.refused)
