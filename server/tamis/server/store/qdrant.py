"""The vector store over Qdrant's gRPC API: the embedded engine and a cluster alike."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc as rpc
from google.protobuf.message import Message
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import (
    GrpcToRest,
    RestToGrpc,
    grpc_to_payload,
    payload_to_grpc,
)

from tamis.models.errors import InputError, TamisError
from tamis.server.store import (
    CollectionExistsError,
    CollectionSchema,
    StoreUnavailableError,
    UnknownCollectionError,
    messages,
    payloads,
)

# No message is larger, either way; upserts and answers with vectors are cut well below it.
MAX_MESSAGE_BYTES = 128 << 20
_POINTS_WITH_VECTORS = 32
# Every call but `Create` may be repeated without harm, so gRPC repeats it when the connection
# breaks, and waits for an engine that is starting again; the deadline holds for all of it.
_RETRIES = """{"methodConfig": [
    {"name": [{"service": "qdrant.Points"}, {"service": "qdrant.Collections"}],
     "waitForReady": true,
     "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s",
                     "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}},
    {"name": [{"service": "qdrant.Collections", "method": "Create"}], "waitForReady": true}
]}"""
_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    ("grpc.service_config", _RETRIES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
_REFUSED = {
    rpc.StatusCode.INVALID_ARGUMENT,
    rpc.StatusCode.OUT_OF_RANGE,
    rpc.StatusCode.UNIMPLEMENTED,
}


def channel_to(url: str) -> rpc.aio.Channel:
    """A connection to ``unix:/path``, ``http://host:6334`` or ``https://host:6334``.

    Raises:
        InputError: The address is of another form.
    """
    if url.startswith("unix:"):
        return rpc.aio.insecure_channel(url, options=_OPTIONS)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is not an address such as http://qdrant:6334")
    target = f"{parts.hostname}:{parts.port or 6334}"
    if parts.scheme == "http":
        return rpc.aio.insecure_channel(target, options=_OPTIONS)
    return rpc.aio.secure_channel(target, rpc.ssl_channel_credentials(), options=_OPTIONS)


class QdrantStore:
    """A `VectorStore` that speaks Qdrant's gRPC API.

    Vectors may be numpy arrays wherever `qdrant_client.models` has lists of floats: they go out
    without becoming Python floats (`tamis.server.store.point` makes such a point), and vectors
    that come back are float32 arrays of shape [dim] or [count, dim].
    """

    def __init__(self, channel: rpc.aio.Channel, *, timeout_s: float) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
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

    async def retrieve(
        self, collection: str, ids: Sequence[str], *, vectors: Sequence[str] = ()
    ) -> list[models.Record]:
        step = _POINTS_WITH_VECTORS if vectors else 1_000
        found: dict[str, models.Record] = {}
        for start in range(0, len(ids), step):
            response = await self._call(
                self._points.Get,
                grpc.GetPoints(
                    collection_name=collection,
                    ids=messages.ids_of(ids[start : start + step]),
                    with_payload=grpc.WithPayloadSelector(enable=True),
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
                    with_payload=grpc.WithPayloadSelector(enable=True),
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
                with_payload=grpc.WithPayloadSelector(enable=True),
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
        try:
            return await method(request, timeout=self._timeout_s, metadata=(payloads.METADATA,))
        except rpc.aio.AioRpcError as error:
            raise _error(error) from error


def _error(error: rpc.aio.AioRpcError) -> TamisError:
    """Our error for a status."""
    code, details = error.code(), error.details() or "no details"
    if code is rpc.StatusCode.NOT_FOUND:
        return UnknownCollectionError(details)
    if code is rpc.StatusCode.ALREADY_EXISTS:
        return CollectionExistsError(details)
    if code in _REFUSED or "larger than max" in details:
        return InputError(details)
    return StoreUnavailableError(f"{code.name}: {details}")


def _require_completed(response: grpc.PointsOperationResponse) -> None:
    """A cluster that is slow to write says so in an answer, not in a status."""
    if response.result.status != grpc.UpdateStatus.Completed:
        status = grpc.UpdateStatus.Name(response.result.status)
        raise StoreUnavailableError(f"the write was not completed in time: {status}")
