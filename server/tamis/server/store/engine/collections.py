"""All collections of a folder: open them, make them, let them go. One process a folder."""

import asyncio
import contextlib
import fcntl
import logging
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from qdrant_client import grpc

from tamis.server.store.engine.aliases import Aliases
from tamis.server.store.engine.collection import Collection
from tamis.server.store.engine.deaths import Deaths
from tamis.server.store.engine.disk import Disk
from tamis.server.store.engine.errors import (
    CollectionThereError,
    DamagedError,
    FolderInUseError,
    NoCollectionError,
)

_LOG = logging.getLogger(__name__)
# What a cluster refuses in a name.
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')


@contextlib.contextmanager
def locked(folder: Path, *, wait_s: float) -> Iterator[None]:
    """Holds the folder; the kernel lets go of it when this process ends, however it ends.

    Args:
        folder: What one process at a time may write.
        wait_s: How long a process that is about to end may take to let go, in seconds.

    Raises:
        FolderInUseError: Another process holds it.
    """

    def give_up(*_: object) -> None:
        raise TimeoutError

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        before = signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, wait_s)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except TimeoutError as error:
            raise FolderInUseError(f"{folder}: another engine has it open") from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        yield


class Collections:
    """The collections of a folder, by name. One that cannot be opened does not keep the others.

    Attributes:
        disk: Where they are.
        aliases: Their other names.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Opens every collection of the folder.

        Raises:
            FullError: There is no room on the disk to do so.
        """
        disk.require_for_start()
        self._folder = folder
        self.disk = disk
        self._deaths = Deaths(folder / ".opening.json")
        self.aliases = Aliases(folder / ".aliases.json", self._there)
        self._open: dict[str, Collection] = {}
        self._damaged: dict[str, str] = {}
        for leftover in folder.glob(".*-*"):  # half made or half deleted
            shutil.rmtree(leftover, ignore_errors=True)
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                self._load(unquote(path.name), path)

    def _load(self, name: str, path: Path) -> None:
        try:
            with self._deaths.watched(name):
                self._open[name] = Collection(path, self.disk)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the engine is no Exception
            _LOG.error("collection %r cannot be opened: %s", name, error)
            self._damaged[name] = str(error)

    def __iter__(self) -> Iterator[Collection]:
        return iter(self._open.values())

    def _there(self, name: str) -> bool:
        return name in self._open or name in self._damaged

    def __contains__(self, name: str) -> bool:
        return self._there(self.aliases.resolve(name))

    def __getitem__(self, name: str) -> Collection:
        """An open collection, by its name or by another that stands for it.

        Raises:
            NoCollectionError: There is none of that name.
            DamagedError: It cannot be opened.
        """
        name = self.aliases.resolve(name)
        if name in self._damaged:
            raise DamagedError(f"collection {name!r} cannot be opened: {self._damaged[name]}")
        if name not in self._open:
            raise NoCollectionError(f"no collection {name!r}")
        return self._open[name]

    def names(self) -> list[str]:
        """All of them, those that cannot be opened too; sorted."""
        return sorted([*self._open, *self._damaged])

    def create(self, description: grpc.CreateCollection) -> None:
        """Makes one beside the others and moves it in, so that none is ever half made.

        Raises:
            CollectionThereError: There is one of that name.
            FullError: There is no room on the disk.
            ValueError: The name or the description will not do.
        """
        name = description.collection_name
        self.disk.require(0)
        path, new = self._place(name)
        try:
            Collection.make(new, description)
            new.rename(path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        self._open[name] = Collection(path, self.disk)

    def _place(self, name: str) -> tuple[Path, Path]:
        """Where a new collection goes, and where it is made before.

        Raises:
            CollectionThereError: There is one of that name.
            ValueError: The name will not do.
        """
        if name in self:
            kind = "alias" if name in self.aliases else "collection"
            raise CollectionThereError(f"there is {kind} {name!r} already")
        return self._path(name), self._folder / f".new-{uuid.uuid4().hex}"

    async def adopt_files(self, name: str, files: Path) -> None:
        """Makes a collection of what `Collection.copy_files` has written.

        Raises:
            CollectionThereError: There is one of that name.
            DamagedError: The engine cannot open it; it is not there then.
            ValueError: The name will not do, or the folder holds something else.
        """
        path, new = self._place(name)
        try:
            await asyncio.to_thread(Collection.take_files, files, new, name)
            if name in self:  # made by another caller meanwhile
                raise CollectionThereError(f"there is {name!r} already")
            new.rename(path)
        finally:
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        self._load(name, path)
        if why := self._damaged.pop(name, ""):
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            raise DamagedError(f"the snapshot cannot be opened: {why}")

    async def drop(self, name: str) -> None:
        """Deletes one; it is gone at once, its files a little later.

        Raises:
            NoCollectionError: There is none of that name.
        """
        if not self._there(name):
            raise NoCollectionError(f"no collection {name!r}")
        self.aliases.forget(name)
        collection = self._open.pop(name, None)
        self._damaged.pop(name, None)
        if collection:
            collection.abandon()
        self._deaths.forget(name)
        old = self._folder / f".old-{uuid.uuid4().hex}"
        self._path(name).rename(old)
        await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)

    def close(self) -> None:
        """Writes what is left and lets go of all of them."""
        for collection in self._open.values():
            collection.close()
        self._open.clear()

    def _path(self, name: str) -> Path:
        """The folder of a collection; no name leads out of ours or looks like a leftover."""
        if name in ("", ".", ".."):
            raise ValueError(f"a collection cannot have the name {name!r}")
        if forbidden := sorted(_FORBIDDEN & set(name)):
            raise ValueError(f"a collection's name holds no {forbidden[0]!r}")
        encoded = quote(name, safe=" ")
        if encoded.startswith("."):
            encoded = "%2E" + encoded[1:]
        if len(encoded) > 255:
            raise ValueError("a collection's name has at most 255 bytes, as a URL writes it")
        return self._folder / encoded
