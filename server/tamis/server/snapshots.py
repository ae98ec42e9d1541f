"""Snapshots: a collection in one file, with its pictures and centroids, and back again."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from google.protobuf import json_format
from qdrant_client import grpc

from tamis.server import archives
from tamis.server.archives import DamagedSnapshotError
from tamis.server.collections import Collections, check_name
from tamis.server.errors import NotFoundError
from tamis.server.late_interaction.fields import IDENTITY

# What a snapshot's file is called, and what its folders are.
_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}\.tar\.gz")
_INDEX, _PICTURES, _CENTROIDS = "index", "pictures", "centroids"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A collection as it was.

    Attributes:
        name: Of its file.
        collection: What it is of.
        created: When it was made, as in `2026-03-01T12:00:00Z`.
        documents: How many it holds.
        size_bytes: Of its file.
    """

    name: str
    collection: str
    created: str
    documents: int
    size_bytes: int


class Snapshots:
    """The snapshots of all collections: files `{folder}/{collection}/{name}`.

    Args:
        collections: What they are of. Their index must be of this machine.
        folder: Where the files go, on the same file system as the index.
    """

    def __init__(self, collections: Collections, folder: Path) -> None:
        self._collections = collections
        self._folder = folder

    async def create(self, collection: str) -> Snapshot:
        """Writes a collection as it is now; searches and writes go on.

        Raises:
            UnknownCollectionError: There is none of that name.
            UnsupportedByIndexError: The index is a cluster.
        """
        schema = await self._collections.schema(collection)
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:4]}.tar.gz"
        path = self._folder / collection / name
        async with self._staging() as staging:
            documents = await self._collections.store.copy_files(collection, staging / _INDEX)
            # After the index: a document's picture is written before the document is.
            await asyncio.to_thread(
                _link, self._collections.documents.pictures(collection).folder, staging / _PICTURES
            )
            if centroids := self._collections.late.files.folder_of(schema):
                await asyncio.to_thread(_link, centroids, staging / _CENTROIDS, deep=False)
            about = {
                "collection": collection,
                "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                "documents": documents,
                "fingerprints": schema.metadata.get("fingerprints", {}),
            }
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(archives.write, path, staging, about)
        return await asyncio.to_thread(_described, path)

    async def listed(self, collection: str) -> list[Snapshot]:
        """The snapshots of a collection, which may be gone, the newest first."""
        check_name(collection)
        return await asyncio.to_thread(_listed, self._folder / collection)

    async def delete(self, collection: str, name: str) -> None:
        """Deletes a snapshot.

        Raises:
            NotFoundError: There is none of that name.
        """
        await asyncio.to_thread(self._path(collection, name).unlink)

    async def restore(self, collection: str, name: str, new: str) -> None:
        """Makes the collection `new` of a snapshot.

        Raises:
            CollectionExistsError: There is one of that name.
            DamagedSnapshotError: The file is not as it was written.
            NotFoundError: There is no such snapshot.
        """
        check_name(new)
        path = await asyncio.to_thread(self._path, collection, name)
        await self._collections.require_free(new)
        async with self._staging() as staging:
            await asyncio.to_thread(archives.unpack, path, staging)
            identity = await asyncio.to_thread(_renew, staging / _INDEX)
            places = {
                _PICTURES: self._collections.documents.pictures(new).folder,
                _CENTROIDS: self._collections.late.files.folder_for(identity),
            }
            try:
                for part, place in places.items():  # before the documents that need them
                    await asyncio.to_thread(_move, staging / part, place)
                await self._collections.adopt(new, staging / _INDEX)
            except BaseException:
                for place in places.values():
                    await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
                raise

    def _path(self, collection: str, name: str) -> Path:
        path = self._folder / collection / name
        check_name(collection)
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NotFoundError(f"no snapshot {name[:80]!r} of {collection!r}")
        return path

    @asynccontextmanager
    async def _staging(self) -> AsyncIterator[Path]:
        """A folder that is gone afterwards."""
        staging = self._folder / f".staging-{uuid4().hex}"
        await asyncio.to_thread(staging.mkdir, parents=True)
        try:
            yield staging.absolute()
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)


def _listed(folder: Path) -> list[Snapshot]:
    found = []
    for path in sorted(folder.glob("*.tar.gz"), reverse=True):
        with suppress(DamagedSnapshotError):
            found.append(_described(path))
    return found


def _described(path: Path) -> Snapshot:
    about = archives.read(path)
    return Snapshot(
        name=path.name,
        collection=path.parent.name,
        created=about["created"],
        documents=about["documents"],
        size_bytes=path.stat().st_size,
    )


def _link(source: Path, place: Path, *, deep: bool = True) -> None:
    """The same files in another place, without a copy; those that go meanwhile are left out."""
    for path in source.rglob("*") if deep else source.glob("*"):
        to = place / path.relative_to(source)
        if path.is_file() and not path.name.startswith("."):
            to.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                os.link(path, to)


def _move(source: Path, place: Path) -> None:
    if source.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, place)


def _renew(index: Path) -> str:
    """Tells the collection from the one that the snapshot is of, and says how."""
    file = index / "collection.json"
    try:
        description = json_format.Parse(file.read_text(encoding="utf-8"), grpc.CreateCollection())
    except (OSError, json_format.ParseError) as error:
        raise DamagedSnapshotError(f"the snapshot has no collection: {error}") from error
    identity = uuid4().hex
    description.metadata[IDENTITY].string_value = identity
    file.write_text(json_format.MessageToJson(description), encoding="utf-8")
    return identity
