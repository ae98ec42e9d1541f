"""The collections: what each one indexes, by whose encoders, and the pictures that belong to it."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import numpy as np
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.models.retrievers import NearCentroids, Nearest, Plan
from tamis.models.types import Head, Kind, Representation, Sparse
from tamis.server.errors import MismatchError
from tamis.server.late_interaction.fields import IDENTITY, hidden, lists_of
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.plans import nearest_of, read
from tamis.server.revision import Revision
from tamis.server.store import CollectionSchema, DamagedCollectionError, VectorStore
from tamis.server.store.pictures import PictureStore

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAMESPACE = UUID("6f1c0b5e-4a43-5d0e-9c56-0a6f5a3c7d11")  # of point ids: any fixed one will do
PAGE = 1_000  # documents that are looked at together when a filter deletes them
SCHEMA_TTL_S = 5.0  # how long another machine's change of a collection may go unnoticed


@dataclass(frozen=True, slots=True)
class Field:
    """One indexed representation."""

    name: str
    kind: Kind
    dim: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A schema, and when it was asked for."""

    schema: CollectionSchema
    revision: bytes
    asked_s: float


class Collections:
    """Makes, describes, reads and deletes collections."""

    def __init__(
        self,
        store: VectorStore,
        folder: Path,
        *,
        heads: Mapping[str, Head],
        fingerprints: Mapping[str, str],
        revision: Revision,
        default: Sequence[str] = (),
        late: LateInteraction | None = None,
    ) -> None:
        """Collections in `store`, whose pictures live in `folder`.

        Args:
            store: The index.
            folder: For the pictures.
            heads: What the encoders make, as `encoder.head`.
            fingerprints: Of the encoders, by name.
            revision: Changes with every collection that is made or deleted, here or by another
                process.
            default: What a new collection indexes; empty for all heads.
            late: What searches a vector a token with; None for the defaults, without copies.
        """
        self.store = store
        self.late = late or LateInteraction(
            store, folder / "late_interaction", LateInteractionSettings(), revision, None
        )
        self._folder = folder
        self._heads = heads
        self._fingerprints = fingerprints
        self._default = tuple(default)
        self._revision = revision
        self._schemas: dict[str, _Known] = {}

    async def create(self, name: str, vectors: Sequence[str] = ()) -> None:
        """Makes an empty collection that indexes `vectors`.

        Raises:
            InputError: The name is not a good one, or no encoder makes one of the vectors.
            CollectionExistsError: There is one.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                f"collection: {name[:80]!r} is not 1 to 64 characters of a-z, A-Z, 0-9, _ and -"
            )
        chosen = tuple(vectors) or self._default or tuple(self._heads)
        if unknown := [vector for vector in chosen if vector not in self._heads]:
            raise InputError(f"vectors: {unknown[0]!r} is not one of {', '.join(self._heads)}")
        heads = {vector: self._heads[vector] for vector in chosen}
        await self.store.create(
            name,
            CollectionSchema(
                vectors={n: _params(h) for n, h in heads.items() if h.kind is not Kind.SPARSE},
                sparse={
                    n: models.SparseVectorParams(modifier=models.Modifier.IDF if h.idf else None)
                    for n, h in heads.items()
                    if h.kind is Kind.SPARSE
                }
                | {
                    lists: models.SparseVectorParams()
                    for n, h in heads.items()
                    if h.kind is Kind.MULTI
                    for lists in lists_of(n)
                },
                metadata={
                    IDENTITY: uuid4().hex,
                    "fingerprints": {n: self._fingerprint(n) for n in heads},
                },
            ),
        )
        self._revision.change()

    async def drop(self, name: str) -> None:
        """Deletes a collection with all that it holds.

        Raises:
            UnknownCollectionError: There is none of that name.
        """
        try:
            schema = await self.schema(name)
        except DamagedCollectionError:  # can be deleted all the same
            schema = None
        await self.store.drop(name)
        if schema:
            await self.late.forget(schema)
        self._revision.change()
        await asyncio.to_thread(shutil.rmtree, self._pictures_of(name), ignore_errors=True)

    async def fields(self, name: str) -> list[Field]:
        """What a collection indexes.

        Raises:
            UnknownCollectionError: There is none of that name.
        """
        schema = await self.schema(name)
        prints = schema.metadata.get("fingerprints", {})
        fields = [
            Field(n, Kind.MULTI if p.multivector_config else Kind.DENSE, p.size, prints.get(n, ""))
            for n, p in schema.vectors.items()
        ]
        fields += [
            Field(n, Kind.SPARSE, 0, prints.get(n, "")) for n in schema.sparse if not hidden(n)
        ]
        return sorted(fields, key=lambda field: field.name)

    async def schema(self, name: str) -> CollectionSchema:
        """What a collection indexes, remembered for a few seconds while none is changed.

        Raises:
            UnknownCollectionError: There is none of that name.
        """
        now_s, revision = time.monotonic(), self._revision.now()
        known = self._schemas.get(name)
        if known and known.revision == revision and now_s - known.asked_s < SCHEMA_TTL_S:
            return known.schema
        self._schemas.pop(name, None)
        schema = await self.store.schema(name)
        self._schemas[name] = _Known(schema, revision, now_s)
        return schema

    def check(self, name: str, schema: CollectionSchema, plan: Plan) -> None:
        """Refuses a plan that compares what must not be compared.

        Raises:
            MismatchError: The collection lacks a vector, or another encoder made it.
        """
        for vector in read(plan):
            self._check_vector(name, schema, vector)
        for nearest in nearest_of(plan):
            self._check_vector(name, schema, nearest.vector)
            _check_length(name, schema, nearest)

    def _check_vector(self, name: str, schema: CollectionSchema, vector: str) -> None:
        if vector not in schema.vectors and vector not in schema.sparse:
            known = ", ".join(sorted({*schema.vectors, *schema.sparse}))
            raise MismatchError(f"collection {name!r} does not index {vector!r}; it has: {known}")
        indexed, ours = (
            schema.metadata.get("fingerprints", {}).get(vector),
            self._fingerprint(vector),
        )
        if indexed != ours:
            raise MismatchError(
                f"collection {name!r} holds {vector!r} of an encoder with fingerprint {indexed}; "
                f"this server's has {ours}: index the documents again"
            )

    def _fingerprint(self, vector: str) -> str:
        return self._fingerprints.get(vector.partition(".")[0], "")

    async def representations(
        self, name: str, ids: Sequence[str], vectors: Collection[str]
    ) -> dict[str, dict[str, Representation]]:
        """Stored vectors by document id and vector name; what a document lacks is left out."""
        schema = await self.schema(name)
        there = [vector for vector in vectors if vector in schema.vectors]
        records = await self.store.retrieve(
            name, [point_id(document_id) for document_id in ids], vectors=there
        )
        return {
            record.payload["id"]: _arrays(record.vector, there)
            for record in records
            if record.payload
        }

    async def payloads(self, name: str, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """What the store holds of these documents, in the order of the ids; unknown left out."""
        records = await self.store.retrieve(name, [point_id(i) for i in ids])
        return [record.payload for record in records if record.payload]

    async def image(self, name: str, payload: Mapping[str, Any]) -> bytes | None:
        """A document's image as it was sent, or None."""
        digest = payload.get("image")
        return await self.pictures(name).get(digest) if digest else None

    def pictures(self, name: str) -> PictureStore:
        """The pictures of a collection."""
        return PictureStore(self._pictures_of(name))

    def _pictures_of(self, name: str) -> Path:
        return self._folder / "pictures" / name

    async def delete(self, name: str, which: Sequence[str] | models.Filter) -> int:
        """Deletes documents by id or by filter, and says how many there were."""
        if isinstance(which, models.Filter):
            there = [record async for record in self._passing(name, which)]
        else:
            there = await self.store.retrieve(name, [*{point_id(i): None for i in which}])
        await self.store.delete(name, [str(record.id) for record in there])
        await self._forget_images(name, [record.payload or {} for record in there])
        return len(there)

    async def _passing(self, name: str, where: models.Filter) -> AsyncIterator[models.Record]:
        after: str | None = None
        while page := await self.store.scroll(name, limit=PAGE, after=after, where=where):
            for record in page:
                yield record
            after = str(page[-1].id)

    async def _forget_images(self, name: str, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Deletes the images of deleted documents, but those that another document has too."""
        pictures = self.pictures(name)
        for digest in {payload["image"] for payload in payloads if "image" in payload}:
            same = models.FieldCondition(key="image", match=models.MatchValue(value=digest))
            if not await self.store.count(name, models.Filter(must=[same])):
                await pictures.discard(digest)


def _check_length(name: str, schema: CollectionSchema, nearest: Nearest | NearCentroids) -> None:
    if isinstance(nearest.query, Sparse) or nearest.vector not in schema.vectors:
        return
    dim, size = nearest.query.shape[-1], schema.vectors[nearest.vector].size
    if dim != size:
        raise MismatchError(
            f"query has {dim} dimensions; {nearest.vector!r} of {name!r} has {size}"
        )


def point_id(document_id: str) -> str:
    """The store's id for a document: the same for the same document, always."""
    return str(uuid5(NAMESPACE, document_id))


def _params(head: Head) -> models.VectorParams:
    if head.kind is Kind.DENSE:
        distance = models.Distance.DOT if head.dot else models.Distance.COSINE
        return models.VectorParams(size=head.dim, distance=distance)
    return models.VectorParams(  # compared one by one, never through a graph
        size=head.dim,
        distance=models.Distance.DOT,
        datatype=models.Datatype.FLOAT16,
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
        hnsw_config=models.HnswConfigDiff(m=0),
        on_disk=True,
    )


def _arrays(vectors: Any, names: Sequence[str]) -> dict[str, Representation]:
    return {
        name: np.asarray(vectors[name], dtype=np.float32)
        for name in names
        if vectors and name in vectors
    }
