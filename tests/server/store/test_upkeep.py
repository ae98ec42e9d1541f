"""Graphs are built while the engine goes on answering, and nothing written meanwhile is lost."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import grpc, models

from tamis.server.config import StoreSettings
from tamis.server.store import CollectionSchema, point
from tamis.server.store.opening import open_store
from tamis.server.store.qdrant import channel_to

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


@contextmanager
def busy_engine(tmp_path: Path) -> Iterator[str]:
    """An engine that looks often, and builds graphs early."""
    command = [sys.executable, "-m", "tamis.server.store.engine", "--until-stdin-ends"]
    options = ["--look-after-s", "0.1", "--optimize-after", "1000"]
    socket = tmp_path / "engine.sock"
    folders = ["--folder", str(tmp_path / "collections"), "--socket", str(socket)]
    with subprocess.Popen(
        [*command, *folders, *options],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        yield f"unix:{socket}"
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=30) == 0


async def indexed(target: str) -> int:
    """How many vectors are in a graph."""
    async with channel_to(target) as channel:
        stub = grpc.CollectionsStub(channel)  # type: ignore[no-untyped-call]
        info = await stub.Get(grpc.GetCollectionInfoRequest(collection_name="docs"))
        return int(info.result.indexed_vectors_count)


async def test_graphs_are_built_while_points_come_and_go(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    with busy_engine(tmp_path) as target:
        vectors, later = await fill_until_a_graph_is_there(target, rng)
    (_,) = [entry for entry in os.scandir(tmp_path / "collections/docs") if entry.is_dir()]
    with busy_engine(tmp_path) as target:
        assert await indexed(target)
        await holds(target, vectors, later)


async def fill_until_a_graph_is_there(
    target: str, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Writes, deletes and searches all the while; says what was written, and how much later."""
    vectors = rng.normal(size=(COUNT + 500, DIM)).astype(np.float32)
    async with open_store(StoreSettings(url=target)) as store:
        await store.create("docs", SCHEMA)
        await store.upsert("docs", points(vectors[:COUNT], 0, "old"))
        later = 0
        async with asyncio.timeout(120):
            while not await indexed(target):
                if later < 500:
                    first = COUNT + later
                    await store.upsert("docs", points(vectors[first : first + 5], first, "new"))
                    await store.delete("docs", [str(UUID(int=later))])
                    later += 5
                query = models.NearestQuery.model_construct(nearest=vectors[COUNT])
                found = await store.query("docs", query, using="dense", limit=1, exact=True)
                assert UUID(str(found[0].id)).int == COUNT
    await holds(target, vectors, later)
    return vectors, later


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
