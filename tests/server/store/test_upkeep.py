"""Graphs are built while the engine goes on answering, and nothing written meanwhile is lost."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import grpc, models

from tamis.server.store import CollectionSchema, point
from tamis.server.store.connection import channel_to
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings

DIM, COUNT = 512, 6_000  # more than the 10 MB below which Qdrant builds no graph
SCHEMA = CollectionSchema(
    vectors={
        "dense": models.VectorParams(
            size=DIM,
            distance=models.Distance.DOT,
            hnsw_config=models.HnswConfigDiff(m=4, ef_construct=16),
        )
    },
    sparse={},
    metadata={},
)


def points(vectors: np.ndarray, first: int, kind: str) -> list[models.PointStruct]:
    return [
        point(str(UUID(int=first + i)), vectors={"dense": vector}, payload={"kind": kind})
        for i, vector in enumerate(vectors)
    ]


def kind(name: str) -> models.Filter:
    return models.Filter(
        must=[models.FieldCondition(key="kind", match=models.MatchValue(value=name))]
    )


@asynccontextmanager
async def busy_engine(folder: Path) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """An engine that looks often and builds graphs early: its address, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tamis.server.store.engine", "--until-stdin-ends"),
        *("--folder", str(folder / "collections"), "--socket", str(folder / "engine.sock")),
        *("--look-after-s", "0.1", "--optimize-after", "1000"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin
    assert process.stderr
    await told(process.stderr, "serving")
    yield f"unix:{folder / 'engine.sock'}", process.stderr
    process.stdin.close()
    assert await process.wait() == 0


async def told(said: asyncio.StreamReader, text: str) -> None:
    """Waits until the engine says so."""
    async for line in said:
        if text in line.decode():
            return
    raise AssertionError(f"the engine ended and never said {text!r}")


async def indexed(target: str) -> int:
    """How many vectors are in a graph."""
    async with channel_to(target) as channel:
        stub = grpc.CollectionsStub(channel)  # type: ignore[no-untyped-call]
        info = await stub.Get(grpc.GetCollectionInfoRequest(collection_name="docs"))
        return int(info.result.indexed_vectors_count)


async def test_graphs_are_built_while_points_come_and_go(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    vectors = rng.normal(size=(COUNT + 200, DIM)).astype(np.float32)
    async with busy_engine(tmp_path) as (target, said):
        later = await fill_until_a_graph_is_there(target, said, vectors)
        await holds(target, vectors, later)
    (_,) = [entry for entry in os.scandir(tmp_path / "collections/docs") if entry.is_dir()]
    async with busy_engine(tmp_path) as (target, _):
        assert await indexed(target)
        await holds(target, vectors, later)


async def fill_until_a_graph_is_there(
    target: str, said: asyncio.StreamReader, vectors: np.ndarray
) -> int:
    """Writes, deletes and searches while the graph is built; how many points came meanwhile."""
    async with open_store(StoreSettings(url=target)) as store:
        await store.create("docs", SCHEMA)
        await store.upsert("docs", points(vectors[:COUNT], 0, "old"))
        await told(said, "building graphs")
        built = asyncio.create_task(told(said, "built graphs"))
        later = 0
        while not built.done() and later < 200:
            first = COUNT + later
            await store.upsert("docs", points(vectors[first : first + 5], first, "new"))
            await store.delete("docs", [str(UUID(int=later))])
            later += 5
            query = models.NearestQuery.model_construct(nearest=vectors[COUNT])
            found = await store.query("docs", query, using="dense", limit=1, exact=True)
            assert UUID(str(found[0].id)).int == COUNT
        await built
        while not await indexed(target):  # it began when too little was there
            await told(said, "built graphs")
        return later


async def holds(target: str, vectors: np.ndarray, later: int) -> None:
    """All that was written is there, and scores are what they should be, by graph and by scan."""
    async with open_store(StoreSettings(url=target)) as store:
        gone = set(range(0, later, 5))
        assert await store.count("docs", kind("new")) == later
        assert await store.count("docs", kind("old")) == COUNT - len(gone)
        query = models.NearestQuery.model_construct(nearest=vectors[1_001])
        scores = vectors @ vectors[1_001]
        scan = await store.query("docs", query, using="dense", limit=10, exact=True)
        best = [int(n) for n in np.argsort(-scores) if n < COUNT + later and n not in gone][:10]
        assert [UUID(str(hit.id)).int for hit in scan] == best
        graph = await store.query("docs", query, using="dense", limit=10)
        assert len(graph) == 10
        for hit in graph:
            assert hit.score == pytest.approx(scores[UUID(str(hit.id)).int], rel=1e-4)
