"""The vector store over Qdrant's gRPC API: the embedded engine and a cluster alike."""

import math
from collections.abc import Sequence
from typing import Any

import grpc as rpc
from google.protobuf.message import Message
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import (
    GrpcToRest,
    RestToGrpc,
    grpc_to_payload,
    payload_to_grpc,
)

from tamis.models.errors import InputError, SettingsError, TamisError
from tamis.server.store import (
    CollectionExistsError,
    CollectionSchema,
    DamagedCollectionError,
    StoreFullError,
    StoreUnavailableError,
    UnknownCollectionError,
    UnsupportedByIndexError,
    messages,
    payloads,
)

_POINTS_WITH_VECTORS = 32
_ERRORS: dict[rpc.StatusCode, type[TamisError]] = {
    rpc.StatusCode.NOT_FOUND: UnknownCollectionError,
    rpc.StatusCode.ALREADY_EXISTS: CollectionExistsError,
    rpc.StatusCode.INVALID_ARGUMENT: InputError,
    rpc.StatusCode.OUT_OF_RANGE: InputError,
    rpc.StatusCode.UNIMPLEMENTED: UnsupportedByIndexError,
    rpc.StatusCode.FAILED_PRECONDITION: DamagedCollectionError,
    rpc.StatusCode.RESOURCE_EXHAUSTED: StoreFullError,
}
_REFUSED = (rpc.StatusCode.UNAUTHENTICATED, rpc.StatusCode.PERMISSION_DENIED)


class QdrantStore:
    """A `VectorStore` that speaks Qdrant's gRPC API.

    Vectors may be numpy arrays wherever `qdrant_client.models` has lists of floats: they go out
    without becoming Python floats (`tamis.server.store.point` makes such a point), and vectors
    that come back are float32 arrays of shape [dim] or [count, dim].
    """

    def __init__(
        self,
        channel: rpc.aio.Channel,
        *,
        timeout_s: float,
        api_key: str = "",
        consistency: str = "",
        ordering: str = "",
    ) -> None:
        """A store over a connection, which it closes.

        Args:
            channel: From `channel_to`.
            timeout_s: How long one call may take, its repetitions included, in seconds.
            api_key: What the cluster wants to see; empty for none.
            consistency: How many of a cluster's replicas a read asks: a number, or `majority`,
                `quorum` or `all`; empty for one.
            ordering: How a cluster orders writes: `weak`, `medium` or `strong`; empty for weak.
        """
        self._channel = channel
        self._timeout_s = timeout_s
        self._metadata = (payloads.METADATA, *([("api-key", api_key)] if api_key else []))
        self._asked = {
            "timeout": math.ceil(timeout_s),
            "read_consistency": consistency_of(consistency),
            "ordering": ordering_of(ordering),
        }
        self._collections = grpc.CollectionsStub(channel)  # type: ignore[no-untyped-call]
        self._points = grpc.PointsStub(channel)  # type: ignore[no-untyped-call]

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        await self._call(
            self._collections.Create,
            grpc.CreateCollection(
                collection_name=collection,
                vectors_config=(
                    RestToGrpc.convert_vectors_config(dict(schema.vectors))
                    if schema.vectors
                    else None
                ),
                sparse_vectors_config=(
                    RestToGrpc.convert_sparse_vector_config(dict(schema.sparse))
                    if schema.sparse
                    else None
                ),
                metadata=payload_to_grpc(dict(schema.metadata)),
            ),
        )

    async def drop(self, collection: str) -> None:
        response = await self._call(
            self._collections.Delete, grpc.DeleteCollection(collection_name=collection)
        )
        if not response.result:  # a cluster's way to say that there was none
            raise UnknownCollectionError(f"no collection {collection!r}")

    async def names(self) -> list[str]:
        response = await self._call(self._collections.List, grpc.ListCollectionsRequest())
        return sorted(description.name for description in response.collections)

    async def schema(self, collection: str) -> CollectionSchema:
        response = await self._call(
            self._collections.Get, grpc.GetCollectionInfoRequest(collection_name=collection)
        )
        config = response.result.config
        vectors, sparse = config.params.vectors_config, config.params.sparse_vectors_config
        return CollectionSchema(
            vectors={
                name: GrpcToRest.convert_vector_params(vectors.params_map.map[name])
                for name in vectors.params_map.map
            },
            sparse={
                name: GrpcToRest.convert_sparse_vector_params(sparse.map[name])
                for name in sparse.map
            },
            metadata=grpc_to_payload(config.metadata),
        )

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

    async def update_vectors(self, collection: str, points: Sequence[models.PointVectors]) -> None:
        for request in messages.updates(collection, points):
            try:
                _require_completed(await self._call(self._points.UpdateVectors, request))
            except (InputError, UnknownCollectionError) as error:
                if "No point with id" not in str(error):
                    raise
                if len(points) > 1:  # one that is gone keeps others of its message from theirs
                    for point in points:
                        await self.update_vectors(collection, [point])
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
                params=grpc.SearchParams(exact=True) if exact else None,
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

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: Any, request: Message) -> Any:
        for name, value in self._asked.items():
            if value is not None and name in request.DESCRIPTOR.fields_by_name:
                _set(request, name, value)
        try:
            return await method(request, timeout=self._timeout_s, metadata=self._metadata)
        except rpc.aio.AioRpcError as error:
            raise _error(error) from error


def consistency_of(text: str) -> grpc.ReadConsistency | None:
    """How many replicas a read asks, as Qdrant has it; None for what the cluster does by itself.

    Raises:
        ValueError: It is no number above 0 and none of the words.
    """
    if not text:
        return None
    if text.isdecimal() and int(text):
        return grpc.ReadConsistency(factor=int(text))
    return RestToGrpc.convert_read_consistency(models.ReadConsistencyType(text))


def ordering_of(text: str) -> grpc.WriteOrdering | None:
    """How writes are ordered, as Qdrant has it; None for what the cluster does by itself.

    Raises:
        ValueError: It is none of the words.
    """
    return RestToGrpc.convert_write_ordering(models.WriteOrdering(text)) if text else None


def _set(request: Message, name: str, value: Any) -> None:
    if isinstance(value, Message):
        getattr(request, name).CopyFrom(value)
    else:
        setattr(request, name, value)


def _error(error: rpc.aio.AioRpcError) -> TamisError:
    """Our error for a status."""
    code, details = error.code(), error.details() or "no details"
    if "larger than max" in details:
        return InputError(details)
    if code in _REFUSED:
        return SettingsError(f"store.api_key: the index refuses it: {details}")
    if code in _ERRORS:
        return _ERRORS[code](details)
    return StoreUnavailableError(f"the index does not answer: {code.name}: {details}")


def _require_completed(response: grpc.PointsOperationResponse) -> None:
    """A cluster that is slow to write says so in an answer, not in a status."""
    if response.result.status != grpc.UpdateStatus.Completed:
        status = grpc.UpdateStatus.Name(response.result.status)
        raise StoreUnavailableError(f"the write was not completed in time: {status}")
