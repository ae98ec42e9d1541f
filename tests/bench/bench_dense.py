"""Dense search through a graph: the embedded engine, in float32 and int8, beside faiss's HNSW.

`TAMIS_BENCH_DOCUMENTS` (200000) synthetic vectors of 384 numbers in clusters, and queries near
some of them; recall is the share of the 100 best by exact search. Both graphs have 16 links a node
(32 on the lowest level) and 100 candidates at building. Ours is asked over its socket, in another
process; faiss by a call in its own. One query at a time; rounds go round all rows. The peer is
installed once, into TAMIS_BENCH_CACHE.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from peer_environment import environment
from qdrant_client import models

from tamis.models.blocks.similarity import unit
from tamis.models.types import Head, Kind
from tamis.server.schemas import DenseIndex, new_schema
from tamis.server.store import VectorStore, point
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings

pytestmark = pytest.mark.bench
DOCUMENTS = int(os.environ.get("TAMIS_BENCH_DOCUMENTS") or 200_000)
DIM, QUERIES, LIMIT, ROUNDS = 384, 100, 100, 3
EFS = (100, 200, 400, 800)
RECALL = 0.95  # at which the times are compared
NAME, VECTOR = "bench", "t.dense"
SUPER, OF_A_CLUSTER = 50, 100
PEER = Path(__file__).with_name("peers") / "faiss_hnsw.py"
LINE_BYTES = 4 << 20  # of the peer's answers

Answers = tuple[list[float], list[list[int]]]  # seconds a query, documents a query
Ask = Callable[[int], Awaitable[Answers]]


@dataclass
class Row:
    """What one system does with one `ef`.

    Attributes:
        p50_ms: Of each round, and so the others.
    """

    recall: float = 0.0
    p50_ms: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)

    def add(self, answers: Answers, best: np.ndarray) -> None:
        p50, p95 = np.percentile(answers[0], (50, 95))
        self.p50_ms.append(1e3 * float(p50))
        self.p95_ms.append(1e3 * float(p95))
        shares = [len({*own} & {*top}) / LIMIT for own, top in zip(answers[1], best, strict=True)]
        self.recall = float(np.mean(shares))


def test_dense(tmp_path: Path) -> None:
    documents, queries = synthetic(np.random.default_rng(0))
    asyncio.run(measure(tmp_path, documents, queries, exact(documents, queries)))


async def measure(
    folder: Path, documents: np.ndarray, queries: np.ndarray, best: np.ndarray
) -> None:
    async with AsyncExitStack() as stack:
        print(f"\n{len(documents)} x {DIM}, {LIMIT} of {len(queries)} queries")
        asks: dict[str, Ask] = {
            "faiss": await stack.enter_async_context(faiss(folder, documents, queries)),
            "float32": await stack.enter_async_context(
                ours(folder, documents, queries, int8=False)
            ),
            "int8": await stack.enter_async_context(ours(folder, documents, queries, int8=True)),
        }
        rows = {(name, ef): Row() for name in asks for ef in EFS}
        for _ in range(ROUNDS):
            for (name, ef), row in rows.items():
                row.add(await asks[name](ef), best)
    show(rows)


def synthetic(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Documents around clusters' centres, which lie around fewer; queries around documents."""
    middles = unit(rng.normal(size=(SUPER, DIM)))
    clusters = max(1, DOCUMENTS // OF_A_CLUSTER)
    centres = _near(rng, middles[rng.integers(SUPER, size=clusters)], 1.0)
    documents = _near(rng, centres[rng.integers(clusters, size=DOCUMENTS)], 0.7)
    return documents, _near(rng, documents[rng.integers(DOCUMENTS, size=QUERIES)], 0.5)


def _near(rng: np.random.Generator, vectors: np.ndarray, norm: float) -> np.ndarray:
    noise = rng.standard_normal(vectors.shape, np.float32) * (norm / DIM**0.5)
    return unit(vectors + noise).astype(np.float32)


def exact(documents: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The numbers of each query's best documents."""
    return np.argpartition(-(queries @ documents.T), LIMIT, axis=1)[:, :LIMIT]


@asynccontextmanager
async def faiss(folder: Path, documents: np.ndarray, queries: np.ndarray) -> AsyncIterator[Ask]:
    python = await asyncio.to_thread(environment, "faiss-cpu==1.15.1")
    paths = [folder / "documents.npy", folder / "queries.npy"]
    for path, vectors in zip(paths, (documents, queries), strict=True):
        np.save(path, vectors)
    process = await asyncio.create_subprocess_exec(
        python, PEER, *paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=LINE_BYTES
    )
    assert process.stdin
    assert process.stdout
    requests, answers = process.stdin, process.stdout
    print(f"{'faiss':8} built in {json.loads(await answers.readline()):.1f} s")

    async def ask(ef: int) -> Answers:
        requests.write(f"{ef}\n".encode())
        seconds, found = json.loads(await answers.readline())
        return seconds, found

    yield ask
    process.stdin.close()
    assert await process.wait() == 0


@asynccontextmanager
async def ours(
    folder: Path, documents: np.ndarray, queries: np.ndarray, *, int8: bool
) -> AsyncIterator[Ask]:
    name = "int8" if int8 else "float32"
    own = folder / name
    async with (
        engine(own) as (target, said),
        open_store(StoreSettings(url=target, timeout_s=300)) as store,
    ):
        heads = {VECTOR: Head(Kind.DENSE, DIM, "s")}
        await store.create(NAME, new_schema(heads, {VECTOR: "f"}, {}, {}, int8=int8))
        written_s = await load(store, documents)
        await told(said, "building graphs")
        started = time.perf_counter()
        await told(said, "built graphs")
        built_s = time.perf_counter() - started
        print(f"{name:8} built in {built_s:.1f} s, after {written_s:.1f} s of writing")
        rescoring = models.QuantizationSearchParams(
            rescore=True, oversampling=DenseIndex().oversampling
        )

        async def ask(ef: int) -> Answers:
            params = models.SearchParams(hnsw_ef=ef, quantization=rescoring if int8 else None)
            seconds, found = [], []
            for vector in queries:
                started = time.perf_counter()
                hits = await store.query(
                    NAME,
                    models.NearestQuery.model_construct(nearest=vector),
                    limit=LIMIT,
                    using=VECTOR,
                    params=params,
                    payload=False,
                )
                seconds.append(time.perf_counter() - started)
                found.append([UUID(str(hit.id)).int for hit in hits])
            return seconds, found

        yield ask


async def load(store: VectorStore, documents: np.ndarray) -> float:
    """Writes all documents, and says how many seconds it took."""
    started = time.perf_counter()
    for first in range(0, len(documents), 1_000):
        points = [
            point(str(UUID(int=first + i)), vectors={VECTOR: vector}, payload={})
            for i, vector in enumerate(documents[first : first + 1_000])
        ]
        await store.upsert(NAME, points)
    return time.perf_counter() - started


@asynccontextmanager
async def engine(folder: Path) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """An engine that builds graphs as soon as all is written: its address, and what it says."""
    await asyncio.to_thread(folder.mkdir)
    socket = folder / "engine.sock"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tamis.server.store.engine", "--until-stdin-ends"),
        *("--folder", str(folder / "collections"), "--socket", str(socket)),
        *("--look-after-s", "0.5", "--optimize-after", str(DOCUMENTS)),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin
    assert process.stderr
    await told(process.stderr, "serving")
    yield f"unix:{socket}", process.stderr
    process.stdin.close()
    assert await process.wait() == 0


async def told(said: asyncio.StreamReader, text: str) -> None:
    """Waits until the engine says so."""
    async for line in said:
        if text in line.decode():
            return
    raise AssertionError(f"the engine ended and never said {text!r}")


def show(rows: dict[tuple[str, int], Row]) -> None:
    print(f"{'':8}{'ef':>6}{'recall@100':>12}{'p50 ms':>9}{'p95 ms':>9}")
    fastest: dict[str, float] = {}
    for (name, ef), row in rows.items():
        p50, p95 = statistics.median(row.p50_ms), statistics.median(row.p95_ms)
        print(f"{name:8}{ef:6}{row.recall:12.3f}{p50:9.2f}{p95:9.2f}")
        if row.recall >= RECALL:
            fastest[name] = min(p50, fastest.get(name, p50))
    for name, p50 in fastest.items():
        if name != "faiss" and "faiss" in fastest:
            ratio = p50 / fastest["faiss"]
            print(f"{name}: {ratio:.2f} x the p50 of faiss, each at its fastest recall >= {RECALL}")
