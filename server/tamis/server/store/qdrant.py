"""The vector store over Qdrant's gRPC API: the embedded engine and a cluster alike."""

from collections.abc import Sequence

from qdrant_client import grpc, models

from tamis.models.errors import InputError
from tamis.server.store import (
    StoreUnavailableError,
    UnknownCollectionError,
    messages,
)
from tamis.server.store.qdrant_collections import QdrantCollections

_POINTS_WITH_VECTORS = 32


class QdrantStore(QdrantCollections):
    """A `VectorStore` that speaks Qdrant's gRPC API.

    Vectors may be numpy arrays wherever `qdrant_client.models` has lists of floats: they go out
    without becoming Python floats (`tamis.server.store.point` makes such a point), and vectors
    that come back are float32 arrays of shape [dim] or [count, dim].
    """

    async def count(self, collection: str, where: models.Filter | None = None) -> int:
        response = await self._call(
            self._points.Count,
            grpc.CountPoints(
                collection_name=collection, filter=messages.filter_of(where), exact=True
            ),
        )
        return int(response.result.count)

    async def upsert(self, collection: str, points: Sequence[models.PointStruct]) -> None:
        for request in messages.upserts(collection, points):
            _require_completed(await self._call(self._points.Upsert, request))

    async def delete(self, collection: str, which: Sequence[str] | models.Filter) -> None:
        if not isinstance(which, models.Filter) and not which:
            return  # a cluster refuses an empty list
        selector = (
            grpc.PointsSelector(filter=messages.filter_of(which))
            if isinstance(which, models.Filter)
            else grpc.PointsSelector(points=grpc.PointsIdsList(ids=messages.ids_of(which)))
        )
        response = await self._call(
            self._points.Delete,
            grpc.DeletePoints(collection_name=collection, wait=True, points=selector),
        )
        _require_completed(response)

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        where: models.Filter | None = None,
    ) -> None:
        for request in messages.updates(collection, points, where):
            try:
                _require_completed(await self._call(self._points.UpdateVectors, request))
            except (InputError, UnknownCollectionError) as error:
                if "No point with id" not in str(error):
                    raise
                if len(points) > 1:  # one that is gone keeps others of its message from theirs
                    for point in points:
                        await self.update_vectors(collection, [point], where=where)
                    return

    async def delete_vectors(
        self, collection: str, names: Sequence[str], where: models.Filter
    ) -> None:
        request = grpc.DeletePointVectors(
            collection_name=collection,
            wait=True,
            points_selector=grpc.PointsSelector(filter=messages.filter_of(where)),
            vectors=grpc.VectorsSelector(names=names),
        )
        _require_completed(await self._call(self._points.DeleteVectors, request))

    async def retrieve(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        vectors: Sequence[str] = (),
        payload: bool = True,
    ) -> list[models.Record]:
        step = _POINTS_WITH_VECTORS if vectors else 1_000
        found: dict[str, models.Record] = {}
        for start in range(0, len(ids), step):
            response = await self._call(
                self._points.Get,
                grpc.GetPoints(
                    collection_name=collection,
                    ids=messages.ids_of(ids[start : start + step]),
                    with_payload=grpc.WithPayloadSelector(enable=payload),
                    with_vectors=messages.with_vectors(vectors),
                ),
            )
            for point in response.result:
                record = messages.record_of(point, vectors=bool(vectors))
                found[str(record.id)] = record
        return [found[identifier] for identifier in ids if identifier in found]

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
        step = _POINTS_WITH_VECTORS if vectors else 1_000
        found: list[models.Record] = []
        while len(found) < limit:
            asked = min(step, limit - len(found))
            response = await self._call(
                self._points.Scroll,
                grpc.ScrollPoints(
                    collection_name=collection,
                    offset=None if after is None else grpc.PointId(uuid=after),
                    limit=asked + 1,  # the point of the offset is counted among them
                    filter=messages.filter_of(where),
                    with_payload=grpc.WithPayloadSelector(enable=payload),
                    with_vectors=messages.with_vectors(vectors),
                ),
            )
            page = [messages.record_of(point, vectors=bool(vectors)) for point in response.result]
            fresh = [record for record in page if record.id != after][:asked]
            found += fresh
            if len(fresh) < asked:
                break
            after = str(fresh[-1].id)
        return found

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
        at_once = limit <= _POINTS_WITH_VECTORS
        response = await self._call(
            self._points.Query,
            grpc.QueryPoints(
                collection_name=collection,
                query=messages.query_of(query),
                using=using,
                prefetch=[messages.prefetch_of(part, exact=exact) for part in prefetch],
                filter=messages.filter_of(where),
                params=messages.params_of(params, exact=exact),
                limit=limit,
                with_payload=grpc.WithPayloadSelector(enable=payload),
                with_vectors=messages.with_vectors(vectors if at_once else ()),
            ),
        )
        with_vectors = bool(vectors) and at_once
        found = [messages.hit_of(point, vectors=with_vectors) for point in response.result]
        if vectors and not at_once:
            ids = [str(point.id) for point in found]
            records = await self.retrieve(collection, ids, vectors=vectors)
            by_id = {record.id: record.vector for record in records}
            for point in found:
                point.vector = by_id.get(point.id, {})
        return found


def _require_completed(response: grpc.PointsOperationResponse) -> None:
    """A cluster that is slow to write says so in an answer, not in a status."""
    if response.result.status != grpc.UpdateStatus.Completed:
        status = grpc.UpdateStatus.Name(response.result.status)
        raise StoreUnavailableError(f"the write was not completed in time: {status}")
