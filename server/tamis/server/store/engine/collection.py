"""One collection on disk: its description, the engine's shard, and when what reaches the disk."""

import asyncio
import os
from pathlib import Path

import qdrant_edge as edge
from google.protobuf import json_format
from qdrant_client import grpc

from tamis.server.store.engine import schema

_DESCRIPTION, _SHARD = "collection.json", "shard"


class Collection:
    """An open collection.

    Its folder holds `collection.json`, the `CreateCollection` message that made it (fingerprints
    are in its `metadata`), and `shard/`, which is the engine's.

    A write is in the shard's write-ahead log when `update` returns, so that it survives the
    process; after `sync` it survives the machine too. `flush` writes the shard itself and lets go
    of the log behind it.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what `make` has made.

        Raises:
            Exception: The folder is damaged, or another process has it open.
        """
        self.folder = folder
        self.description = json_format.Parse(
            (folder / _DESCRIPTION).read_text(encoding="utf-8"), grpc.CreateCollection()
        )
        self.shard = edge.EdgeShard.load(str(folder / _SHARD))
        self.dirty = False
        self._wanted, self._synced = 0, 0
        self._syncing = asyncio.Lock()

    @staticmethod
    def make(folder: Path, description: grpc.CreateCollection) -> None:
        """Makes an empty collection in a folder that does not exist yet.

        Raises:
            ValueError: The embedded engine does not have what the description asks for.
        """
        config = schema.config(description)
        (folder / _SHARD).mkdir(parents=True)
        (folder / _DESCRIPTION).write_text(json_format.MessageToJson(description), encoding="utf-8")
        edge.EdgeShard.create(str(folder / _SHARD), config).close()

    def update(self, operation: edge.UpdateOperation) -> None:
        """Writes; searches find it at once."""
        self.dirty = True
        self._wanted += 1
        self.shard.update(operation)

    async def sync(self) -> None:
        """Waits until all that was written so far is on the disk; one `fsync` serves many writers.

        Meanwhile other calls are answered: `fsync` runs in a thread and holds no lock of Python's.
        """
        wanted = self._wanted
        async with self._syncing:
            if self._synced < wanted:
                reached = self._wanted
                await asyncio.to_thread(_fsync, self.folder / _SHARD / "wal")
                self._synced = reached

    def flush(self) -> None:
        """Writes the shard to the disk, so that opening it need not read the log again."""
        self.shard.flush()
        self.dirty = False

    def close(self) -> None:
        """Writes what is left and lets go."""
        self.flush()
        self.shard.close()


def _fsync(folder: Path) -> None:
    """Puts a folder's files and the folder itself on the disk."""
    for path in [*folder.iterdir(), folder]:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # the engine lets go of a full log at any time
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
