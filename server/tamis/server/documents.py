"""What collections hold of their documents, and the pictures that belong to them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from qdrant_client import models

from tamis.models.types import Representation
from tamis.server.store import CollectionSchema, VectorStore
from tamis.server.store.pictures import PictureStore

NAMESPACE = UUID("6f1c0b5e-4a43-5d0e-9c56-0a6f5a3c7d11")  # of point ids: any fixed one will do
PAGE = 1_000  # documents that are looked at together when a filter deletes them


class Documents:
    """Reads and deletes documents, by their collection's name.

    Args:
        store: The index.
        folder: Where the pictures are, in a folder a collection.
    """

    def __init__(self, store: VectorStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def representations(
        self, name: str, schema: CollectionSchema, ids: Sequence[str], vectors: Collection[str]
    ) -> dict[str, dict[str, Representation]]:
        """Stored vectors by document id and vector name; what is not there is left out."""
        there = [vector for vector in vectors if vector in schema.vectors]
        records = await self._store.retrieve(
            name, [point_id(document_id) for document_id in ids], vectors=there
        )
        return {
            record.payload["id"]: _arrays(record.vector, there)
            for record in records
            if record.payload
        }

    async def payloads(self, name: str, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """What the store holds of these documents, in the order of the ids; unknown left out."""
        records = await self._store.retrieve(name, [point_id(i) for i in ids])
        return [record.payload for record in records if record.payload]

    async def image(self, name: str, payload: Mapping[str, Any]) -> bytes | None:
        """A document's image as it was sent, or None."""
        digest = payload.get("image")
        return await self.pictures(name).get(digest) if digest else None

    def pictures(self, name: str) -> PictureStore:
        """The pictures of a collection."""
        return PictureStore(self._folder / name)

    async def delete(self, name: str, which: Sequence[str] | models.Filter) -> int:
        """Deletes documents by id or by filter, and says how many there were."""
        if isinstance(which, models.Filter):
            there = [record async for record in self._passing(name, which)]
        else:
            there = await self._store.retrieve(name, [*{point_id(i): None for i in which}])
        await self._store.delete(name, [str(record.id) for record in there])
        await self._forget_images(name, [record.payload or {} for record in there])
        return len(there)

    async def _passing(self, name: str, where: models.Filter) -> AsyncIterator[models.Record]:
        after: str | None = None
        while page := await self._store.scroll(name, limit=PAGE, after=after, where=where):
            for record in page:
                yield record
            after = str(page[-1].id)

    async def _forget_images(self, name: str, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Deletes the images of deleted documents, but those that another document has too."""
        pictures = self.pictures(name)
        for digest in {payload["image"] for payload in payloads if "image" in payload}:
            same = models.FieldCondition(key="image", match=models.MatchValue(value=digest))
            if not await self._store.count(name, models.Filter(must=[same])):
                await pictures.discard(digest)


def point_id(document_id: str) -> str:
    """The store's id for a document: the same for the same document, always."""
    return str(uuid5(NAMESPACE, document_id))


def _arrays(vectors: Any, names: Sequence[str]) -> dict[str, Representation]:
    return {
        name: np.asarray(vectors[name], dtype=np.float32)
        for name in names
        if vectors and name in vectors
    }
