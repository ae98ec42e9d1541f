"""One collection on disk: its description, the engine's shard, and what reaches the disk when."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

import qdrant_edge as edge
from google.protobuf import json_format
from qdrant_client import grpc

from tamis.server.store.engine import schema
from tamis.server.store.engine.disk import Disk, size_of
from tamis.server.store.engine.errors import NoCollectionError

_DESCRIPTION, _STATE = "collection.json", "state.json"
# Runs in a process of its own: `optimize` may take minutes, and holds Python's lock all the time.
_OPTIMIZE = """
import os, sys, qdrant_edge
os.nice(10)
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.flush()
shard.close()
"""


class Collection:
    """An open collection.

    Its folder holds `collection.json`, the `CreateCollection` message that made it (fingerprints
    are in its `metadata`); `shard-*`, which is the engine's; and `state.json`, which says which
    shard counts and how many points were written since its graphs were built.

    A write is in the shard's write-ahead log when `update` returns, so that it survives the
    process; after `sync` it survives the machine too. `flush` writes the shard itself and lets go
    of the log behind it.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Opens what `make` has made.

        Raises:
            Exception: The folder is damaged, or another process has it open.
        """
        self._folder = folder
        self._disk = disk
        self.description = json_format.Parse(
            (folder / _DESCRIPTION).read_text(encoding="utf-8"), grpc.CreateCollection()
        )
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        self._path = folder / str(state["shard"])
        self.written = int(state["written"])
        for leftover in folder.glob("shard-*"):  # an optimization that was cut off
            if leftover != self._path:
                shutil.rmtree(leftover, ignore_errors=True)
        self.shard = edge.EdgeShard.load(str(self._path))
        self.dirty = False
        self._writing = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._count, self._synced = 0, 0
        self._recorded: list[edge.UpdateOperation] | None = None
        self._abandoned = False

    @property
    def name(self) -> str:
        """As it was made."""
        return self.description.collection_name

    @property
    def graphs(self) -> bool:
        """Whether any of its vectors is searched through a graph, once there is one."""
        vectors = self.description.vectors_config.params_map.map
        return any(
            vectors[name].hnsw_config.m != 0 or not vectors[name].hnsw_config.HasField("m")
            for name in vectors
        )

    @staticmethod
    def make(folder: Path, description: grpc.CreateCollection) -> None:
        """Makes an empty collection in a folder that does not exist yet.

        Raises:
            ValueError: The embedded engine does not have what the description asks for.
        """
        config = schema.config(description)
        shard = folder / f"shard-{uuid.uuid4().hex}"
        shard.mkdir(parents=True)
        text = json_format.MessageToJson(description)
        (folder / _DESCRIPTION).write_text(text, encoding="utf-8")
        _write_state(folder, shard, written=0)
        edge.EdgeShard.create(str(shard), config).close()

    async def update(self, operation: edge.UpdateOperation, count: int) -> None:
        """Writes `count` points; searches find them at once, and when it returns they will last."""
        async with self._writing:
            self._require()
            self.shard.update(operation)
            self.dirty = True
            self.written += count
            self._count += 1
            if self._recorded is not None:
                self._recorded.append(operation)
        await self._sync()

    async def _sync(self) -> None:
        """Waits until all that was written so far is on the disk; one `fsync` serves many writers.

        Meanwhile other calls are answered: `fsync` runs in a thread and holds no lock of Python's.
        """
        count = self._count
        async with self._syncing:
            if self._synced < count:
                reached = self._count
                await asyncio.to_thread(_fsync, self._path / "wal")
                self._synced = reached

    async def flush(self) -> None:
        """Writes the shard to the disk, so that opening it need not read the log again.

        The engine answers nothing while the shard is flushed, so most of it is written before that.
        """
        await asyncio.to_thread(_fsync, self._path)
        async with self._writing:
            self._require()
            self.shard.flush()
            self.dirty = False
            await asyncio.to_thread(_write_state, self._folder, self._path, written=self.written)

    async def optimize(self) -> None:
        """Builds the graphs of a copy of the shard in another process, and takes the copy's place.

        Searches go on all the time, but for the moment in which the copy is opened. Writes wait
        while the files are copied and again at the end, when those that came in between are
        repeated.

        Raises:
            FullError: There is no room for the copy.
            RuntimeError: The process failed; nothing has changed.
        """
        self._disk.require(await asyncio.to_thread(size_of, self._path))
        path = self._folder / f"shard-{uuid.uuid4().hex}"
        await self.flush()
        async with self._writing:
            written, self._recorded = self.written, []
            await asyncio.to_thread(shutil.copytree, self._path, path)
        try:
            await _run(sys.executable, "-c", _OPTIMIZE, str(path))
            async with self._writing:
                self._require()
                shard = edge.EdgeShard.load(str(path))
                for operation in self._recorded:
                    shard.update(operation)
                    await asyncio.sleep(0)
                await asyncio.to_thread(_fsync, path)
                self.written -= written
                await asyncio.to_thread(_write_state, self._folder, path, written=self.written)
                old, self.shard = self.shard, shard
                old_path, self._path = self._path, path
                self.dirty = True
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            raise
        finally:
            self._recorded = None
        old.close()
        await asyncio.to_thread(shutil.rmtree, old_path, ignore_errors=True)

    async def copy_files(self, folder: Path) -> int:
        """Writes the collection as it is now to a new folder, and says how many points it has.

        Searches go on; writes wait while the files are copied.

        Raises:
            FullError: There is no room for the copy.
        """
        self._disk.require(await asyncio.to_thread(size_of, self._path), copies=1)
        await self.flush()
        async with self._writing:
            self._require()
            self.shard.flush()  # what came in since the other flush
            count = self.shard.info().points_count
            await asyncio.to_thread(shutil.copytree, self._path, folder / "shard")
        await asyncio.to_thread(shutil.copy2, self._folder / _DESCRIPTION, folder / _DESCRIPTION)
        return count

    @staticmethod
    def take_files(files: Path, folder: Path, name: str) -> None:
        """Makes a collection's folder of what `copy_files` has written, under another name.

        Raises:
            ValueError: That is not what the folder holds.
        """
        try:
            description = json_format.Parse(
                (files / _DESCRIPTION).read_text(encoding="utf-8"), grpc.CreateCollection()
            )
        except (OSError, json_format.ParseError) as error:
            raise ValueError(f"no collection's files: {error}") from error
        if not (files / "shard").is_dir():
            raise ValueError(f"no collection's files: {files} has no shard")
        description.collection_name = name
        shard = folder / f"shard-{uuid.uuid4().hex}"
        folder.mkdir()
        shutil.move(files / "shard", shard)
        text = json_format.MessageToJson(description)
        (folder / _DESCRIPTION).write_text(text, encoding="utf-8")
        _write_state(folder, shard, written=0)
        _fsync(folder)

    def abandon(self) -> None:
        """Lets go of a collection that is about to be deleted."""
        self._abandoned = True
        self.shard.close()

    def _require(self) -> None:
        if self._abandoned:
            raise NoCollectionError(f"no collection {self.name!r}")

    def close(self) -> None:
        """Writes what is left and lets go."""
        self.shard.flush()
        self.shard.close()
        _write_state(self._folder, self._path, written=self.written)


async def _run(*command: str) -> None:
    """Runs a command to its end, or ends it if we are not to wait any longer."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace").strip().rpartition("\n")[2])


def _write_state(folder: Path, shard: Path, *, written: int) -> None:
    """Says which shard is the collection; the old word or the new one, never half of one."""
    new = folder / ".state.json"
    new.write_text(json.dumps({"shard": shard.name, "written": written}), encoding="utf-8")
    _fsync(new)
    new.replace(folder / _STATE)
    _fsync_one(folder)


def _fsync(path: Path) -> None:
    """Puts a file, or a folder and all below it, on the disk."""
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # the engine lets go of files at any time
                _fsync_one(Path(folder, name))
    with contextlib.suppress(FileNotFoundError):
        _fsync_one(path)


def _fsync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
