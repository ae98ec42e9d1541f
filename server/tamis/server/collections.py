"""The collections: what each one indexes, and by whose encoders."""

import asyncio
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qdrant_client import models

from tamis.models.errors import InputError
from tamis.models.retrievers import NearCentroids, Nearest, Plan
from tamis.models.types import Head, Sparse
from tamis.server.aliases import Aliases
from tamis.server.documents import Documents
from tamis.server.errors import MismatchError
from tamis.server.late_interaction.fields import hidden
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.plans import nearest_of, read
from tamis.server.revision import Revision
from tamis.server.schemas import DenseIndex, Field, fields_of, new_schema
from tamis.server.store import (
    CollectionExistsError,
    CollectionSchema,
    DamagedCollectionError,
    VectorStore,
)
from tamis.server.terms import Terms

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SCHEMA_TTL_S = 5.0  # how long another machine's change of a collection may go unnoticed


@dataclass(frozen=True, slots=True)
class _Known:
    """A schema, and when it was asked for."""

    schema: CollectionSchema
    revision: bytes
    asked_s: float


class Collections:
    """Makes, describes and deletes collections."""

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
        dense: DenseIndex | None = None,
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
            dense: How dense vectors are searched; None for as they are.
        """
        self.store = store
        self.late = late or LateInteraction(
            store, folder / "late_interaction", LateInteractionSettings(), revision, None
        )
        self.terms = Terms(store)
        self.dense = dense or DenseIndex()
        self.aliases = Aliases(store, revision)
        self.documents = Documents(store, folder / "pictures")
        self._heads = heads
        self._fingerprints = fingerprints
        self._default = tuple(default)
        self._revision = revision
        self._schemas: dict[str, _Known] = {}

    async def create(
        self,
        name: str,
        vectors: Sequence[str] = (),
        weightings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        indexes: Mapping[str, models.PayloadSchemaType] = MappingProxyType({}),
    ) -> None:
        """Makes an empty collection that indexes `vectors`.

        Args:
            name: Its name.
            vectors: What it indexes; empty for the default.
            weightings: How it weighs fields that are counts of terms: the settings of a
                `TermWeighting` that are not those of the field's encoder.
            indexes: What fields of the metadata hold that filters will test.

        Raises:
            InputError: The name is not a good one, or no encoder makes one of the vectors.
            CollectionExistsError: There is one, or it is another name of one.
        """
        check_name(name)
        chosen = tuple(vectors) or self._default or tuple(self._heads)
        if unknown := [vector for vector in chosen if vector not in self._heads]:
            raise InputError(f"vectors: {unknown[0]!r} is not one of {', '.join(self._heads)}")
        heads = {vector: self._heads[vector] for vector in chosen}
        prints = {vector: self._fingerprint(vector) for vector in chosen}
        await self.store.create(
            name, new_schema(heads, prints, weightings, indexes, int8=self.dense.int8)
        )
        self._revision.change()

    async def drop(self, name: str) -> None:
        """Deletes a collection with all that it holds.

        Raises:
            MismatchError: Another name stands for it, or it is such a name.
            UnknownCollectionError: There is none of that name.
        """
        if (stands_for := await self.aliases.resolve(name)) != name:
            raise MismatchError(f"{name!r} is an alias of {stands_for!r}: delete the alias")
        if others := await self.aliases.of(name):
            raise MismatchError(
                f"the alias {others[0]!r} stands for {name!r}: switch or delete it before"
            )
        try:
            schema = await self.schema(name)
        except DamagedCollectionError:  # can be deleted all the same
            schema = None
        await self.store.drop(name)
        if schema:
            await self.late.files.forget(schema)
        self._revision.change()
        pictures = self.documents.pictures(name).folder
        await asyncio.to_thread(shutil.rmtree, pictures, ignore_errors=True)

    async def fields(self, name: str) -> list[Field]:
        """What a collection indexes.

        Raises:
            UnknownCollectionError: There is none of that name.
        """
        return fields_of(await self.schema(name))

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

    def default_fields(self) -> dict[str, Head]:
        """What a collection indexes that nobody describes."""
        return {name: self._heads[name] for name in self._default or tuple(self._heads)}

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
            known = ", ".join(sorted(n for n in (*schema.vectors, *schema.sparse) if not hidden(n)))
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

    async def require_free(self, name: str) -> None:
        """Lets a name be given to a new collection.

        Raises:
            CollectionExistsError: It is taken.
        """
        if name in await self.store.names() or name in await self.store.aliases():
            raise CollectionExistsError(f"there is a collection or an alias {name!r} already")

    async def adopt(self, name: str, files: Path) -> None:
        """Makes a collection of files that the store has given.

        Raises:
            CollectionExistsError: There is one of that name.
        """
        await self.store.adopt_files(name, files)
        self._revision.change()


def _check_length(name: str, schema: CollectionSchema, nearest: Nearest | NearCentroids) -> None:
    if isinstance(nearest.query, Sparse) or nearest.vector not in schema.vectors:
        return
    dim, size = nearest.query.shape[-1], schema.vectors[nearest.vector].size
    if dim != size:
        raise MismatchError(
            f"query has {dim} dimensions; {nearest.vector!r} of {name!r} has {size}"
        )


def check_name(name: str) -> None:
    """Lets a collection, or what stands for one, have a name.

    Raises:
        InputError: It is not a good one.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"collection: {name[:80]!r} is not 1 to 64 characters of a-z, A-Z, 0-9, _ and -"
        )
