"""One engine for all contract tests, and the same protocol over qdrant-client's local mode."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_engine import running
from qdrant_client import AsyncQdrantClient, models

from tamis.server.store import (
    AliasChange,
    CollectionExistsError,
    CollectionSchema,
    UnknownCollectionError,
    UnsupportedByIndexError,
    VectorStore,
)
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings


def listed(vector: Any) -> Any:
    """Arrays as lists, which is what local mode takes."""
    if isinstance(vector, dict):
        return {name: listed(value) for name, value in vector.items()}
    if isinstance(vector, models.SparseVector):
        indices, values = listed(vector.indices), listed(vector.values)
        return models.SparseVector(indices=list(indices), values=list(values))
    return vector.tolist() if isinstance(vector, np.ndarray) else vector


def _ids(points: Sequence[models.PointVectors]) -> list[str]:
    return [str(point.id) for point in points]


def plain(query: Any) -> Any:
    """A query, or a prefetch with those below it, whose vectors are lists."""
    if isinstance(query, models.Prefetch):
        below: Any = query.prefetch or []
        parts = [plain(part) for part in (below if isinstance(below, list) else [below])]
        made = {"query": plain(query.query), "prefetch": parts or None}
        return query.model_copy(update=made)
    if not isinstance(query, models.NearestQuery):
        return listed(query)
    return models.NearestQuery(nearest=listed(query.nearest), mmr=query.mmr)


class LocalStore:
    """qdrant-client's own reading of the query model: brute force in numpy, in memory."""

    def __init__(self) -> None:
        self._client = AsyncQdrantClient(":memory:")
        self._metadata: dict[str, dict[str, Any]] = {}
        self._indexes: dict[str, dict[str, models.PayloadSchemaType]] = {}

    async def _known(self, collection: str) -> None:
        if not await self._client.collection_exists(collection):
            raise UnknownCollectionError(collection)

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        if await self._client.collection_exists(collection):
            raise CollectionExistsError(collection)
        self._metadata[collection] = dict(schema.metadata)
        self._indexes[collection] = dict(schema.indexes)  # which it does without
        await self._client.create_collection(
            collection,
            vectors_config=dict(schema.vectors),
            sparse_vectors_config=dict(schema.sparse),
        )

    async def drop(self, collection: str) -> None:
        await self._known(collection)
        await self._client.delete_collection(collection)

    async def names(self) -> list[str]:
        response = await self._client.get_collections()
        return sorted(description.name for description in response.collections)

    async def schema(self, collection: str) -> CollectionSchema:
        await self._known(collection)
        params = (await self._client.get_collection(collection)).config.params
        assert isinstance(params.vectors, dict)
        return CollectionSchema(
            params.vectors,
            params.sparse_vectors or {},
            self._metadata[collection],
            self._indexes[collection],
        )

    async def aliases(self) -> dict[str, str]:
        response = await self._client.get_aliases()
        return {one.alias_name: one.collection_name for one in response.aliases}

    async def update_aliases(self, changes: Sequence[AliasChange]) -> None:
        names = await self.names()
        for change in changes:
            if isinstance(change, models.CreateAliasOperation):
                if change.create_alias.alias_name in names:
                    raise CollectionExistsError(change.create_alias.alias_name)
                if change.create_alias.collection_name not in names:
                    raise UnknownCollectionError(change.create_alias.collection_name)
        await self._client.update_collection_aliases(list(changes))

    async def copy_files(self, collection: str, folder: Path) -> int:
        raise UnsupportedByIndexError("it is in memory")

    async def adopt_files(self, collection: str, folder: Path) -> None:
        raise UnsupportedByIndexError("it is in memory")

    async def count(self, collection: str, where: models.Filter | None = None) -> int:
        await self._known(collection)
        return (await self._client.count(collection, count_filter=where)).count

    async def upsert(self, collection: str, points: Sequence[models.PointStruct]) -> None:
        await self._known(collection)
        if not points:  # which it refuses, as a cluster does; our adapter sends nothing then
            return
        await self._client.upsert(
            collection,
            [
                models.PointStruct(id=p.id, vector=listed(p.vector), payload=p.payload)
                for p in points
            ],
        )

    async def delete(self, collection: str, which: Sequence[str] | models.Filter) -> None:
        await self._known(collection)
        if not isinstance(which, models.Filter) and not which:
            return
        selector: Any = which if isinstance(which, models.Filter) else list(which)
        await self._client.delete(collection, selector)

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        where: models.Filter | None = None,
    ) -> None:
        await self._known(collection)
        there = {str(record.id) for record in await self.retrieve(collection, _ids(points))}
        present = [
            models.PointVectors(id=p.id, vector=listed(p.vector))
            for p in points
            if str(p.id) in there
        ]
        if present:
            await self._client.update_vectors(collection, present, update_filter=where)

    async def delete_vectors(
        self, collection: str, names: Sequence[str], where: models.Filter
    ) -> None:
        await self._known(collection)
        await self._client.delete_vectors(collection, list(names), where)

    async def retrieve(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        vectors: Sequence[str] = (),
        payload: bool = True,
    ) -> list[models.Record]:
        await self._known(collection)
        found = await self._client.retrieve(
            collection, list(ids), with_payload=payload, with_vectors=list(vectors)
        )
        by_id = {str(record.id): record for record in found}
        return [by_id[i] for i in ids if i in by_id]

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
        await self._known(collection)
        found, _ = await self._client.scroll(
            collection,
            where,
            limit + 1,
            offset=after,
            with_payload=payload,
            with_vectors=list(vectors),
        )
        return [record for record in found if record.id != after][:limit]

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
        await self._known(collection)
        response = await self._client.query_points(
            collection,
            query=plain(query),
            using=using,
            prefetch=[plain(part) for part in prefetch] or None,
            query_filter=where,
            limit=limit,
            with_payload=payload,
            with_vectors=list(vectors),
        )
        return response.points

    async def close(self) -> None:
        await self._client.close()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine's address. It starts in 1.5 s, so that tests share it where they can."""
    with running(tmp_path_factory.mktemp("engine")) as target:
        yield target


@pytest.fixture(params=["embedded", "local"])
async def store(request: pytest.FixtureRequest, engine: str) -> AsyncIterator[VectorStore]:
    """A store without collections: the embedded engine, then local mode, for the same test."""
    if request.param == "local":
        local = LocalStore()
        yield local
        await local.close()
        return
    async with open_store(StoreSettings(url=engine)) as store:
        yield store
        for name in await store.names():
            await store.drop(name)
