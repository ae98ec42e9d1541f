"""What the engine does when it hangs, has too much to do, has no room, or finds damaged files."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import grpc
import numpy as np
import pytest
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.errors import status_of
from tamis.server.store import (
    CollectionSchema,
    DamagedCollectionError,
    StoreFullError,
    StoreUnavailableError,
    VectorStore,
    point,
)
from tamis.server.store.connection import channel_to
from tamis.server.store.engine.deaths import Deaths
from tamis.server.store.qdrant import QdrantStore
from tamis.server.store.supervisor import Supervisor

DIM = 64
SCHEMA = CollectionSchema(
    vectors={
        "dense": models.VectorParams(size=DIM, distance=models.Distance.COSINE),
        "tokens": models.VectorParams(
            size=4,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
        ),
    },
    sparse={"terms": models.SparseVectorParams()},
    metadata={},
)
MIB = 1 << 20
MANY = np.broadcast_to(np.float32(1), (5_000_000, 4))


def points(first: int, count: int, text: str = "") -> list[models.PointStruct]:
    return [
        point(str(UUID(int=n)), vectors={"dense": np.full(DIM, n + 1)}, payload={"text": text})
        for n in range(first, first + count)
    ]


def connected(engine: Supervisor) -> QdrantStore:
    return QdrantStore(channel_to(engine.target), timeout_s=30)


async def until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_an_engine_that_hangs_is_started_again(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, hung_after_s=0.5) as engine:
        store = connected(engine)
        await store.create("docs", SCHEMA)
        await store.upsert("docs", points(0, 3))
        hung = engine.pid
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: not Path(f"/proc/{hung}").exists())
        await store.upsert("docs", points(3, 1))  # waits for the new one
        assert await store.count("docs") == 4
        await store.close()


async def test_a_busy_engine_is_no_hung_one(tmp_path: Path) -> None:
    """It is asked three times while its queue is full, and lives."""
    async with Supervisor(tmp_path, hung_after_s=0.3, max_queued=1) as engine:
        store, pid = connected(engine), engine.pid
        await store.create("docs", SCHEMA)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            with suppress(StoreFullError):  # the watchdog's question was there first
                await store.upsert("docs", points(0, 500, "x" * 200))
        assert engine.pid == pid
        await store.close()


async def test_more_calls_than_the_queue_holds_are_refused(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, max_queued=2) as engine:
        store = connected(engine)
        await store.create("docs", SCHEMA)
        calls = [store.upsert("docs", points(n, 200, "x" * 500)) for n in range(12)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, StoreFullError)]
        assert 0 < len(refused) < 12
        assert all(one is None or one in refused for one in outcomes)
        assert await store.count("docs") > 0
        await store.close()


@pytest.mark.parametrize(
    ("name", "vector", "message"),
    [
        ("dense", np.ones(DIM - 1), "expected dim: 64, got 63"),
        ("dense", np.full(DIM, np.nan), "not finite"),
        ("dense", np.full(DIM, np.inf), "not finite"),
        ("dense", np.ones(0), r"shape \[0\] has no values"),
        ("tokens", np.ones((0, 4)), r"shape \[0, 4\] has no values"),
        ("tokens", np.ones((1, 0)), r"shape \[1, 0\] has no values"),
        ("tokens", np.ones((2, 2, 2)), "1 or 2 dimensions, not 3"),
        ("tokens", np.ones((2, 5)), "expected dim: 4, got 5"),
        ("tokens", MANY, "80000000 bytes; at most 67108864"),
        ("terms", models.SparseVector.model_construct(indices=[1], values=[np.nan]), "not finite"),
        ("terms", models.SparseVector.model_construct(indices=[1, 1], values=[1, 2]), "twice"),
        ("terms", models.SparseVector.model_construct(indices=[1, 2], values=[1]), "as many"),
        ("terms", models.SparseVector.model_construct(indices=[-1], values=[1]), "not a sparse"),
    ],
)
async def test_a_vector_that_will_not_do_is_refused_and_leaves_no_trace(
    name: str, vector: object, message: str, shared: VectorStore
) -> None:
    """Each of these would be lost, or end the engine, or keep the collection from opening."""
    wrong = point(str(UUID(int=7)), vectors={name: vector}, payload={})
    with pytest.raises(InputError, match=message):
        await shared.upsert("docs", [wrong])
    assert await shared.retrieve("docs", [str(UUID(int=7))]) == []


@pytest.fixture
async def shared(engine: str) -> AsyncIterator[VectorStore]:
    store = QdrantStore(channel_to(engine), timeout_s=30)
    await store.create("docs", SCHEMA)
    yield store
    await store.drop("docs")
    await store.close()


async def test_of_points_with_one_id_the_last_stands(shared: VectorStore) -> None:
    await shared.upsert("docs", [*points(1, 2, "first"), *points(1, 1, "last")])
    assert await shared.count("docs") == 2
    (record,) = await shared.retrieve("docs", [str(UUID(int=1))])
    assert record.payload == {"text": "last"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 MiB, in memory, where the holes in files count too."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700m", "tamis-test", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def counted(store: VectorStore) -> int:
    """How many points there are, once the engine is there again."""
    end = time.monotonic() + 60
    while True:
        try:
            return await store.count("docs")
        except StoreUnavailableError:
            assert time.monotonic() < end


async def filled_up(store: VectorStore) -> tuple[int, str]:
    """Writes until that is refused: how many points were acknowledged, and what was said."""
    for first in range(0, 100_000, 500):
        try:
            await store.upsert("docs", points(first, 500, os.urandom(2_000).hex()))
        except StoreFullError as error:
            return first, str(error)
    raise AssertionError("the disk is too large")


async def test_a_full_disk_refuses_writes_and_loses_none(small_disk: Path) -> None:
    """Most of it is to stay free. What was acknowledged is found; with room again, writes go on."""
    async with Supervisor(small_disk / "index", min_free_bytes=540 * MIB) as engine:
        store, pid = connected(engine), engine.pid
        await store.create("docs", SCHEMA)
        written, said = await filled_up(store)
        assert "disk is full: " in said
        assert "(store.min_free_bytes)" in said
        assert written > 1_000
        assert await store.count("docs") == written
        assert engine.pid == pid
        await store.delete("docs", [str(UUID(int=0))])  # to make room must be possible
        os.kill(pid, signal.SIGKILL)  # and so must be a start
        assert await counted(store) == written - 1
        resize = ["mount", "-o", "remount,size=1400m", str(small_disk)]
        await asyncio.to_thread(subprocess.run, resize, check=True)
        await store.upsert("docs", points(written, 500))
        assert await store.count("docs") == written + 499
        await store.close()


async def filled(folder: Path) -> None:
    """Two collections, whose files are complete when this returns."""
    async with Supervisor(folder) as engine:
        store = connected(engine)
        for name in ("bad", "good"):
            await store.create(name, SCHEMA)
            await store.upsert(name, points(0, 200, "a text"))
        await store.close()


def damage(folder: Path, file: str, places: Iterable[int]) -> None:
    """Flips bytes of a file of the collection `bad`."""
    (path,) = (folder / "bad").rglob(file)
    with path.open("r+b") as opened:
        data = bytearray(opened.read(4_096))
        for place in places:
            data[place] ^= 0xFF
        opened.seek(0)
        opened.write(data)


@pytest.mark.parametrize(
    ("file", "places", "message"),
    [
        ("payload_storage/page_0.dat", range(4_000), "'bad' is damaged: .*restore a snapshot"),
        ("edge_config.json", range(8), "'bad' cannot be opened"),
    ],
    ids=["unreadable payload", "unreadable settings"],
)
async def test_a_damaged_collection_concerns_no_other(
    tmp_path: Path, file: str, places: Iterable[int], message: str
) -> None:
    await filled(tmp_path)
    damage(tmp_path, file, places)
    async with Supervisor(tmp_path) as engine:
        store, pid = connected(engine), engine.pid
        query = models.NearestQuery(nearest=[1.0] * DIM)
        with pytest.raises(DamagedCollectionError, match=message) as caught:
            await store.query("bad", query, using="dense", limit=3)
        assert status_of(caught.value).code is grpc.StatusCode.FAILED_PRECONDITION
        assert len(await store.query("good", query, using="dense", limit=3)) == 3
        assert engine.pid == pid
        await store.drop("bad")
        await store.create("bad", SCHEMA)
        assert await store.names() == ["bad", "good"]
        await store.close()


def test_a_collection_that_ends_the_process_twice_is_left_closed(tmp_path: Path) -> None:
    file = tmp_path / "opening.json"
    cut_off = []  # blocks that a dying process never leaves
    for _ in range(2):
        cut_off.append(Deaths(file).watched("bad"))
        cut_off[-1].__enter__()
        with Deaths(file).watched("good"):
            pass
    with pytest.raises(RuntimeError, match="ended 2 times while opening it; remove"):
        Deaths(file).watched("bad").__enter__()
    Deaths(file).forget("bad")
    assert not file.exists()
    for nonsense in ("{", "[]", '{"bad": "x"}'):
        file.write_text(nonsense)
        with Deaths(file).watched("bad"):
            pass
