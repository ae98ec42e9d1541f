"""Where documents are kept and searched: one protocol, an embedded engine or a cluster below it.

Arguments and results are `qdrant_client.models` objects, so that a query means the same on the
embedded engine and on a cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from qdrant_client import models

from tamis.models.errors import InputError, TamisError


class StoreUnavailableError(TamisError):
    """The index does not answer at the moment; the call is safe to repeat."""


class UnknownCollectionError(TamisError):
    """No collection of that name."""


class CollectionExistsError(TamisError):
    """There is a collection of that name already."""


class StoreFullError(TamisError):
    """The index has no room now, in its queue or on its disk; the message says which."""


class DamagedCollectionError(TamisError):
    """The collection is there and cannot be read. Others are not concerned."""


class UnsupportedByIndexError(InputError):
    """This kind of index cannot do that; the message says what can."""


@dataclass(frozen=True, slots=True)
class CollectionSchema:
    """What a collection indexes.

    Attributes:
        vectors: Dense and multi-vector fields, by name (`minilm.dense`).
        sparse: Sparse fields, by name (`bm25.terms`).
        metadata: JSON that belongs to the collection, such as its encoders' fingerprints.
        indexes: Fields of the payload that have an index, such as `metadata.year`, for filters.
    """

    vectors: Mapping[str, models.VectorParams]
    sparse: Mapping[str, models.SparseVectorParams]
    metadata: Mapping[str, Any]
    indexes: Mapping[str, models.PayloadSchemaType] = field(default_factory=dict)


AliasChange: TypeAlias = models.CreateAliasOperation | models.DeleteAliasOperation


@runtime_checkable
class VectorStore(Protocol):
    """Collections of points: an id (UUID), a JSON payload, and named vectors.

    Vectors may be numpy arrays wherever `qdrant_client.models` has lists of floats (`point` makes
    such a point; `models.NearestQuery.model_construct(nearest=array)` such a query). Vectors that
    come back are float32 arrays of shape [dim] or [count, dim], or `models.SparseVector`.

    Ranks count from 0 in Qdrant's reciprocal rank fusion: the k = 60 of the paper, whose ranks
    count from 1, is `models.Rrf(k=61)`.

    Every method raises `InputError` when what it is asked will not do, such as a vector of the
    wrong length or one with a NaN; `StoreUnavailableError` when the index does not answer; and
    `StoreFullError` when it has no room. Those that take a collection raise
    `UnknownCollectionError` when there is none of that name, and `DamagedCollectionError` when its
    files cannot be read.
    """

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        """Makes an empty collection.

        Raises:
            CollectionExistsError: There is one.
        """
        ...

    async def drop(self, collection: str) -> None:
        """Deletes a collection and all its points."""
        ...

    async def names(self) -> list[str]:
        """The collections' names, sorted."""
        ...

    async def schema(self, collection: str) -> CollectionSchema:
        """What a collection indexes."""
        ...

    async def aliases(self) -> dict[str, str]:
        """Other names, and the collections that they stand for in every method."""
        ...

    async def update_aliases(self, changes: Sequence[AliasChange]) -> None:
        """Changes other names: all of it at once, or nothing.

        Raises:
            CollectionExistsError: A collection has the name.
        """
        ...

    async def copy_files(self, collection: str, folder: Path) -> int:
        """Writes a collection's files to a new folder, and says how many points it has.

        Raises:
            UnsupportedByIndexError: The index is not of this machine.
        """
        ...

    async def adopt_files(self, collection: str, folder: Path) -> None:
        """Makes a collection of such files, which are gone then.

        Raises:
            CollectionExistsError: There is one.
            UnsupportedByIndexError: The index is not of this machine.
        """
        ...

    async def count(self, collection: str, where: models.Filter | None = None) -> int:
        """How many points it holds, or how many of them pass the filter; exact."""
        ...

    async def upsert(self, collection: str, points: Sequence[models.PointStruct]) -> None:
        """Adds or replaces points; when it returns they are on disk and can be found."""
        ...

    async def delete(self, collection: str, which: Sequence[str] | models.Filter) -> None:
        """Deletes points by id or by filter; unknown ids are ignored."""
        ...

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        where: models.Filter | None = None,
    ) -> None:
        """Puts vectors on points beside those that they have.

        Unknown ids are ignored, and points that do not pass the filter.
        """
        ...

    async def delete_vectors(
        self, collection: str, names: Sequence[str], where: models.Filter
    ) -> None:
        """Takes the vectors of these fields off the points that pass the filter."""
        ...

    async def retrieve(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        vectors: Sequence[str] = (),
        payload: bool = True,
    ) -> list[models.Record]:
        """The points with these ids, in the order of the ids; unknown left out.

        `vectors` names the fields to bring along; without `payload` theirs are empty.
        """
        ...

    async def scroll(
        self,
        collection: str,
        *,
        limit: int,
        after: str | None = None,
        where: models.Filter | None = None,
        vectors: Sequence[str] = (),
        payload: bool = True,
    ) -> list[models.Record]:
        """The first `limit` points, or those after an id, in the ids' order.

        Fewer than `limit` are the last ones. `vectors` names the fields to bring along; without
        `payload` theirs are empty.
        """
        ...

    async def query(
        self,
        collection: str,
        query: models.Query,
        *,
        limit: int,
        using: str | None = None,
        prefetch: Sequence[models.Prefetch] = (),
        where: models.Filter | None = None,
        exact: bool = False,
        params: models.SearchParams | None = None,
        vectors: Sequence[str] = (),
        payload: bool = True,
    ) -> list[models.ScoredPoint]:
        """The `limit` best points, best first.

        `exact` is for the whole query, prefetches too; `params` is for its uppermost search alone.
        The filter holds in every prefetch too. `vectors` names the fields to bring along; without
        `payload` theirs are empty.
        """
        ...

    async def close(self) -> None:
        """Lets go of connections and processes."""
        ...


def point(
    identifier: str, *, vectors: Mapping[str, Any], payload: Mapping[str, Any]
) -> models.PointStruct:
    """A point that carries its vectors as they are: numpy arrays stay arrays.

    `models.PointStruct(...)` itself makes lists of them and checks every float, which takes 4 ms
    for 144 x 384 of them.

    Args:
        identifier: A UUID.
        vectors: Arrays of shape [dim] or [count, dim], or `models.SparseVector`, by field.
        payload: JSON.
    """
    return models.PointStruct.model_construct(
        id=identifier, vector=dict(vectors), payload=dict(payload)
    )
