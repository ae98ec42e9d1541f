"""What lasts: over a restart, over a crash, over the death of whoever started the engine."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.store import (
    CollectionSchema,
    DamagedCollectionError,
    StoreUnavailableError,
    VectorStore,
    point,
)
from tamis.server.store.calls import reads_wait
from tamis.server.store.connection import channel_to
from tamis.server.store.opening import open_store
from tamis.server.store.qdrant import QdrantStore
from tamis.server.store.supervisor import Supervisor
from tamis.server.store_settings import StoreSettings

SCHEMA = CollectionSchema(
    vectors={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
    sparse={},
    metadata={"fingerprint": "abc"},
)


def points(*numbers: int) -> list[models.PointStruct]:
    return [
        point(str(UUID(int=n)), vectors={"dense": [1.0, n, 0, 0]}, payload={"n": n})
        for n in numbers
    ]


@asynccontextmanager
async def connected(engine: Supervisor, timeout_s: float = 30) -> AsyncIterator[QdrantStore]:
    store = QdrantStore(channel_to(engine.target), timeout_s=timeout_s)
    yield store
    await store.close()


async def held(store: VectorStore, count: int) -> set[int]:
    """The points that are there, of the numbers below `count`."""
    ids = [str(UUID(int=n)) for n in range(count)]
    return {UUID(str(record.id)).int for record in await store.retrieve("docs", ids)}


async def test_collections_are_there_after_a_restart(tmp_path: Path) -> None:
    settings = StoreSettings(folder=str(tmp_path))
    async with open_store(settings) as store:
        await store.create("docs", SCHEMA)
        await store.create("other", SCHEMA)
        await store.upsert("docs", points(1, 2, 3))
    async with open_store(settings) as store:
        assert await store.names() == ["docs", "other"]
        assert (await store.schema("docs")).metadata == {"fingerprint": "abc"}
        assert await held(store, 10) == {1, 2, 3}
        query = models.NearestQuery(nearest=[1.0, 2.0, 0, 0])
        (hit,) = await store.query("docs", query, using="dense", limit=1)
        assert hit.payload == {"n": 2}


async def test_every_acknowledged_point_survives_a_kill(tmp_path: Path) -> None:
    """The engine is killed three times in the middle of a stream of writes and reads."""
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        await store.create("docs", SCHEMA)
        acknowledged: set[int] = set()
        pids = set()
        killed = asyncio.Event()

        async def write(numbers: range) -> None:
            for number in numbers:
                await store.upsert("docs", points(number))
                acknowledged.add(number)
                if number % 40 == 20:
                    killed.set()

        async def read() -> None:
            while len(acknowledged) < 240:
                before = set(acknowledged)
                with suppress(StoreUnavailableError):  # reads do not wait, writes do
                    assert before <= await held(store, 240)

        async def kill() -> None:
            for _ in range(3):
                await killed.wait()
                killed.clear()
                pids.add(engine.pid)
                os.kill(engine.pid, signal.SIGKILL)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            tasks.create_task(kill())
            for start in range(2):
                tasks.create_task(write(range(start, 240, 2)))
        assert len(pids) == 3
        assert engine.pid not in pids
        assert await held(store, 240) == set(range(240))
        assert await store.count("docs") == 240


async def test_reads_of_a_call_that_writes_wait_for_an_engine_that_starts_again(
    tmp_path: Path,
) -> None:
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        await store.create("docs", SCHEMA)

        async def waiting() -> list[str]:
            reads_wait.set(True)
            return await store.names()

        while True:  # until an engine is away for long enough
            with suppress(ProcessLookupError):
                os.kill(engine.pid, signal.SIGKILL)
            patient = asyncio.create_task(waiting())
            try:
                await store.names()
            except StoreUnavailableError:
                break
            await patient
        assert await patient == ["docs"]


async def test_a_call_that_no_restart_can_save_ends_as_unavailable(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as engine:
        target = engine.target
    store = QdrantStore(channel_to(target), timeout_s=0.3)
    with pytest.raises(StoreUnavailableError):
        await store.names()
    with pytest.raises(StoreUnavailableError):
        await store.create("docs", SCHEMA)
    await store.close()


async def test_a_point_that_no_message_holds_is_the_callers_fault(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        await store.create("docs", SCHEMA)
        channel = grpc.aio.insecure_channel(
            engine.target, options=[("grpc.max_send_message_length", 1_000)]
        )
        narrow = QdrantStore(channel, timeout_s=30)
        large = point(str(uuid4()), vectors={"dense": [1.0] * 4}, payload={"a": "b" * 2_000})
        with pytest.raises(InputError, match="larger than max"):
            await narrow.upsert("docs", [large])
        await narrow.close()


async def test_clients_share_one_engine(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as engine, connected(engine) as one, connected(engine) as two:
        await one.create("docs", SCHEMA)
        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                tasks.create_task((one, two)[number % 2].upsert("docs", points(number)))
        assert await held(one, 100) == await held(two, 100) == set(range(100))


async def test_the_settings_may_name_an_engine_that_runs(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as engine:
        async with open_store(StoreSettings(url=engine.target)) as store:
            await store.create("docs", SCHEMA)
        async with open_store(StoreSettings(url=engine.target)) as store:
            assert await store.names() == ["docs"]


async def test_an_address_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match="ftp://host"):
        async with open_store(StoreSettings(url="ftp://host")):
            pass


async def test_a_long_folder_leaves_the_socket_short_and_private(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    async with Supervisor(folder) as engine, connected(engine) as store:
        await store.create("docs", SCHEMA)
        socket = Path(engine.target.removeprefix("unix:"))
        assert len(str(socket)) < 104
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert not socket.parent.exists()


async def test_a_long_folder_for_temporary_files_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    async with Supervisor(tmp_path / "data") as engine, connected(engine) as store:
        assert await store.names() == []


async def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match=r"cannot start.*file"):
        async with Supervisor(tmp_path / "file" / "data"):
            pass


async def test_an_engine_that_cannot_be_imported_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailableError, match="No module named"):
        async with Supervisor(tmp_path):
            pass


async def test_one_engine_a_folder(tmp_path: Path) -> None:
    async with Supervisor(tmp_path):
        with pytest.raises(StoreUnavailableError, match="another engine has it open"):
            async with Supervisor(tmp_path):
                pass


async def test_a_damaged_collection_keeps_no_other_from_opening(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        for name in ("bad", "docs", "half"):
            await store.create(name, SCHEMA)
        await store.upsert("docs", points(1))
    for file in (tmp_path / "bad").rglob("segment.json"):
        file.write_text("{")
    (tmp_path / "half" / "collection.json").unlink()
    (tmp_path / f".new-{uuid4().hex}" / "shard").mkdir(parents=True)
    (tmp_path / "a file").write_text("")
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        assert await store.names() == ["bad", "docs", "half"]
        assert await held(store, 3) == {1}
        for name in ("bad", "half"):
            with pytest.raises(DamagedCollectionError, match=f"'{name}' cannot be opened"):
                await store.count(name)
            await store.drop(name)
        assert await store.names() == ["docs"]
        await store.create("bad", SCHEMA)
        assert await store.count("bad") == 0
    assert {path.name for path in os.scandir(tmp_path)} == {"bad", "docs", "a file", ".lock"}


async def test_the_engine_ends_with_its_parent(tmp_path: Path) -> None:
    """A process starts an engine and is killed; the folder is free again soon."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tamis.server.store.supervisor import Supervisor\n"
        "async def main():\n"
        "    async with Supervisor(Path(sys.argv[1])) as engine:\n"
        "        print(engine.target, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout
    target = (await parent.stdout.readline()).decode().strip()
    parent.kill()
    await parent.wait()
    async with Supervisor(tmp_path) as engine, connected(engine) as store:
        assert await store.names() == []
        with pytest.raises(FileNotFoundError):
            os.scandir(Path(target.removeprefix("unix:")).parent)
