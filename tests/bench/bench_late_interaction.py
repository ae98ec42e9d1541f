"""Late interaction over large collections: how fast, how well, and at what cost.

Synthetic documents of 64 vectors (see `late_interaction_data`) at the sizes that
`TAMIS_BENCH_DOCUMENTS` lists (20000), and WordNet's glosses as MiniLM's token states, all of them
or as many as `TAMIS_BENCH_GLOSSES` says. Each is held against exact MaxSim in float32 over all
documents: `r@10` is the share of its ten best that are found, `s@100` how often the document that
a query is about is among the first hundred, beside how often exact MaxSim has it there. Queries of
320 vectors are timed alone, at 1,000 candidates.

What is loaded and built stays under `TAMIS_BENCH_CACHE`, and a run that was broken off goes on
where it was. `anon` is memory that cannot be dropped; mapped files are pages of the disk's cache.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_interaction_data import CACHE, CHUNK, Asked, Glosses, Synthetic

from tamis.models.retrievers.plaid import PLAID
from tamis.models.runtimes.max_sim import Kernel, onnx_kernel
from tamis.models.types import Content, Head, Kind, Query
from tamis.server.collections import Collections
from tamis.server.documents import point_id
from tamis.server.late_interaction.building import Builder, Progress
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.revision import Revision
from tamis.server.store import VectorStore, point
from tamis.server.store.opening import open_index, open_store
from tamis.server.store_settings import StoreSettings

pytestmark = pytest.mark.bench

SIZES = [int(size) for size in (os.environ.get("TAMIS_BENCH_DOCUMENTS") or "20000").split(",")]
GLOSSES = int(os.environ.get("TAMIS_BENCH_GLOSSES") or 0)
BITS = int(os.environ.get("TAMIS_BENCH_BITS") or 8)
QUERIES, LONG_QUERIES, LIMIT = 40, 5, 100
VECTOR, NAME = "t.tokens", "bench"
SETTINGS = LateInteractionSettings(train_after=1_000, threads=2, copy_bits=BITS)
WAYS = ((4, 300), (8, 300), (8, 1_000), (16, 1_000), (32, 3_000))


@dataclass(frozen=True)
class World:
    """A loaded collection, and what it cost."""

    store: VectorStore
    collections: Collections
    revision: Revision
    folder: Path
    costs: dict[str, Any]


@pytest.mark.parametrize("documents", SIZES)
def test_synthetic(documents: int) -> None:
    data = Synthetic(documents)
    long = data.queries(LONG_QUERIES, 320)
    asyncio.run(_measure(f"synthetic-{documents}", data, data.queries(QUERIES), long))


def test_glosses() -> None:
    data = Glosses(GLOSSES)
    asyncio.run(_measure(f"glosses-{data.documents}", data, data.queries(QUERIES), []))


async def _measure(
    name: str, data: Synthetic | Glosses, queries: Sequence[Asked], long: Sequence[Asked]
) -> None:
    folder = CACHE / "late_interaction" / f"{name}-{BITS}"
    best = await asyncio.to_thread(_exact, CACHE / "late_interaction" / name, data, queries)
    async with _opened(folder, data.dim) as world:
        await _load(world, data)
        await _build(world, data.dim)
        _say_costs(name, world)
        exact = np.mean(
            [asked.target in own[:LIMIT] for asked, own in zip(queries, best, strict=True)]
        )
        print(f"exact MaxSim: s@100 {exact:.3f}")
        print("way              nprobe  cand.   p50 ms   p95 ms   r@10  s@100  p50 of 320 vectors")
        kernels: list[tuple[str, Kernel | None]] = [("index", None)]
        kernels += [(f"copy, {n} threads", onnx_kernel(n)) for n in (1, 2)]
        for way, kernel in kernels:
            late = _late(world, kernel)
            for probes, candidates in WAYS:
                row = await _row(late, world, queries, best, probes, candidates)
                times = [await _timed(late, world, one, probes, 1_000) for one in long]
                last = f"{1e3 * np.median([t for t, _ in times]):.1f}" if times else "-"
                print(f"{way:16} {probes:6} {candidates:6} {row}  {last}", flush=True)
            await late.files.close()


async def _row(
    late: LateInteraction,
    world: World,
    queries: Sequence[Asked],
    best: np.ndarray,
    probes: int,
    candidates: int,
) -> str:
    await _timed(late, world, queries[0], probes, candidates)  # opens what is opened once
    await late.files.opened()
    times, found = [], []
    for asked in queries:
        seconds, own = await _timed(late, world, asked, probes, candidates)
        times.append(1e3 * seconds)
        found.append(own)
    recall = np.mean(
        [len({*own[:10]} & {*top[:10]}) / 10 for own, top in zip(found, best, strict=True)]
    )
    success = np.mean([asked.target in own for asked, own in zip(queries, found, strict=True)])
    p50, p95 = np.percentile(times, (50, 95))
    return f"{p50:8.1f} {p95:8.1f} {recall:6.3f} {success:6.3f}"


async def _timed(
    late: LateInteraction, world: World, asked: Asked, probes: int, candidates: int
) -> tuple[float, list[int]]:
    method = PLAID(vector=VECTOR, nprobe=probes, candidates=candidates)
    started = time.perf_counter()
    plan = method.plan(Query(Content(), {VECTOR: asked.vectors}), LIMIT)
    assert plan is not None
    schema = await world.collections.schema(NAME)
    points = await late.ask(NAME, schema, plan, None)
    seconds = time.perf_counter() - started
    return seconds, [int((one.payload or {})["id"]) for one in points]


def _exact(folder: Path, data: Synthetic | Glosses, queries: Sequence[Asked]) -> np.ndarray:
    """The hundred best documents of each query by exact MaxSim, best first."""
    kept = folder.with_suffix(".npy")
    if kept.exists():
        return np.asarray(np.load(kept))
    lengths = np.cumsum([0, *(len(asked.vectors) for asked in queries)])
    asked = np.concatenate([one.vectors for one in queries]).astype(np.float32)
    scores: list[np.ndarray] = []
    for chunk in data.chunks():
        for part in range(0, len(chunk), 512):  # bounded memory
            own = chunk[part : part + 512]
            matches = np.concatenate(own) @ asked.T
            starts = np.cumsum([0, *(len(one) for one in own[:-1])])
            most = np.maximum.reduceat(matches, starts, axis=0)
            scores.append(np.add.reduceat(most, lengths[:-1], axis=1))
    best = np.argsort(-np.concatenate(scores), axis=0, kind="stable")[:LIMIT].T
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, best)
    return np.asarray(best)


@asynccontextmanager
async def _opened(folder: Path, dim: int) -> AsyncIterator[World]:
    costs = folder / "costs.json"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    known = json.loads(await asyncio.to_thread(costs.read_text)) if costs.exists() else {}
    settings = StoreSettings(folder=str(folder), timeout_s=300)
    async with (
        open_index(settings) as url,
        open_store(replace(settings, url=url)) as store,
    ):
        revision = await asyncio.to_thread(Revision, folder / "revision")
        collections = Collections(
            store,
            folder,
            heads={VECTOR: Head(Kind.MULTI, dim, "s")},
            fingerprints={"t": "f"},
            revision=revision,
        )
        if NAME not in await store.names():
            await collections.create(NAME)
        try:
            yield World(store, collections, revision, folder, known)
        finally:
            await asyncio.to_thread(costs.write_text, json.dumps(known))


async def _load(world: World, data: Synthetic | Glosses) -> None:
    done, started = await world.store.count(NAME), time.perf_counter()
    if done >= data.documents:
        return
    vectors = 0
    for first, chunk in zip(range(0, data.documents, CHUNK), data.chunks(), strict=True):
        vectors += sum(map(len, chunk))
        if first + len(chunk) <= done:
            continue
        for part in range(0, len(chunk), 256):
            points = [
                point(
                    point_id(str(first + part + i)),
                    vectors={VECTOR: tokens},
                    payload={"id": str(first + part + i)},
                )
                for i, tokens in enumerate(chunk[part : part + 256])
                if len(tokens)
            ]
            await world.store.upsert(NAME, points)
        now = time.perf_counter()
        started, spent = now, now - started
        world.costs["load_s"] = world.costs.get("load_s", 0) + spent
        world.costs.update(vectors=vectors, documents=data.documents)


async def _build(world: World, dim: int) -> None:
    late = _late(world, None)
    schema = await world.collections.schema(NAME)
    field = await late.files.field(schema, VECTOR)
    assert field is not None
    if field.state.serving and field.state.copy:
        return
    spans: dict[str, list[float]] = {}

    def report(progress: Progress) -> None:
        now = time.perf_counter()
        spans.setdefault(str(progress.step), [now, now])[1] = now

    started = time.perf_counter()
    await Builder(
        store=world.store,
        collection=NAME,
        vector=VECTOR,
        dim=dim,
        folder=field.folder,
        settings=SETTINGS,
        changed=world.revision.change,
        report=report,
    ).run()
    world.costs["build_s"] = time.perf_counter() - started
    world.costs["steps"] = {name: end - begin for name, (begin, end) in spans.items()}


def _late(world: World, kernel: Kernel | None) -> LateInteraction:
    return LateInteraction(
        world.store, world.folder / "late_interaction", SETTINGS, world.revision, kernel
    )


def _say_costs(name: str, world: World) -> None:
    costs, own = world.costs, os.getpid()
    engines = [pid for pid in _children(own) if "store.engine" in _command(pid)]
    copies = sum(_size(path) for path in world.folder.glob("late_interaction/*/*.copy.*"))
    steps = "  ".join(f"{step} {seconds:.0f} s" for step, seconds in costs["steps"].items())
    print(f"\n{name}: {costs['documents']} documents, {costs['vectors']} vectors")
    print(f"load {costs['load_s']:.0f} s, build {costs['build_s']:.0f} s: {steps}")
    print(f"disk: index {_size(world.folder / 'engine') / 1e9:.2f} GB, copy {copies / 1e9:.2f} GB,")
    print(f"  {copies / costs['vectors']:.1f} bytes a vector in {BITS} bits")
    for label, pids in (("engine", engines), ("this process", [own])):
        anon, mapped = (sum(_status(pid, key) for pid in pids) for key in ("RssAnon", "RssFile"))
        each = anon / costs["vectors"]
        print(f"{label}: anon {anon / 1e6:.0f} MB ({each:.1f} bytes a vector),", end=" ")
        print(f"mapped {mapped / 1e6:.0f} MB")


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def _size(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
