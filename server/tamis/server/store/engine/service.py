"""The part of Qdrant's gRPC API that the embedded engine answers.

Handlers run on the event loop, one after another: the engine's binding holds Python's lock in every
call, so that threads would only wait for one another.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import grpc as rpc
import qdrant_edge
from google.protobuf.message import Message
from qdrant_client import grpc

from tamis.server.store import payloads
from tamis.server.store.engine import edge, files, schema
from tamis.server.store.engine.collections import Collections
from tamis.server.store.engine.errors import (
    CollectionThereError,
    DamagedError,
    FullError,
    NoCollectionError,
    UnsupportedError,
)
from tamis.server.store.engine.filters import filter_of, point_id

_LOG = logging.getLogger(__name__)
_STATUS: dict[type[Exception], rpc.StatusCode] = {
    NoCollectionError: rpc.StatusCode.NOT_FOUND,
    CollectionThereError: rpc.StatusCode.ALREADY_EXISTS,
    DamagedError: rpc.StatusCode.FAILED_PRECONDITION,
    FullError: rpc.StatusCode.RESOURCE_EXHAUSTED,
    UnsupportedError: rpc.StatusCode.UNIMPLEMENTED,
    ValueError: rpc.StatusCode.INVALID_ARGUMENT,
    TypeError: rpc.StatusCode.INVALID_ARGUMENT,
    OverflowError: rpc.StatusCode.INVALID_ARGUMENT,
}
# The binding raises plain `Exception`; these are the engine's own troubles, the rest the caller's.
_UNREADABLE = ("Service runtime error", "Service internal error", "Inconsistent storage")
_INTERNAL = (*_UNREADABLE, "Timeout")

Answer = Callable[[Any], Awaitable[Message]]


def _status(error: BaseException) -> rpc.StatusCode:
    for kind, code in _STATUS.items():
        if isinstance(error, kind):
            return code
    if type(error) is Exception and not str(error).startswith(_INTERNAL):
        return rpc.StatusCode.INVALID_ARGUMENT
    return rpc.StatusCode.INTERNAL


def _known(error: BaseException, message: Any) -> BaseException:
    """The error; of a collection whose files make no sense to the engine, one that says so.

    A panic of the engine is no `Exception`, and has a class that cannot be imported.
    """
    panic = type(error).__name__ == "PanicException"
    if panic or (type(error) is Exception and str(error).startswith(_UNREADABLE)):
        if "No space left" in str(error):
            return FullError(f"the index's disk is full: {error}")
        name = getattr(message, "collection_name", "")
        return DamagedError(
            f"collection {name!r} is damaged: {error}; restore a snapshot of it, or delete it and "
            "index its documents again"
        )
    return error


def handlers(collections: Collections) -> list[rpc.GenericRpcHandler]:
    """What a server is given."""
    methods = Service(collections, payloads.spread).methods()
    ours = Service(collections, payloads.pack).methods()
    return [
        rpc.method_handlers_generic_handler(
            service,
            {
                name: _handler(answer, ours[service][name][0], kind)
                for name, (answer, kind) in answers.items()
            },
        )
        for service, answers in methods.items()
    ]


def _handler(answer: Answer, ours: Answer, request: type[Message]) -> Any:
    """A method that does nothing for a caller who has gone, and says what is wrong."""

    async def handle(message: Message, context: rpc.aio.ServicerContext[Any, Any]) -> Message:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:  # type: ignore[redundant-expr]
            await context.abort(rpc.StatusCode.DEADLINE_EXCEEDED, "waited too long for its turn")
        try:
            packed = payloads.METADATA in (context.invocation_metadata() or ())
            return await (ours if packed else answer)(message)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # see `_known`
            known = _known(error, message)
            code = _status(known)
            if code is rpc.StatusCode.INTERNAL or known is not error:
                _LOG.error("%s failed", request.__name__, exc_info=error)
            await context.abort(code, str(known))
            raise  # `abort` does not return

    return rpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


class Service:
    """Answers Qdrant's calls from the collections of one folder."""

    def __init__(self, collections: Collections, pack: edge.Pack) -> None:
        """Takes the collections, and how payloads are to be answered."""
        self._collections = collections
        self._pack = pack

    def methods(self) -> dict[str, dict[str, tuple[Answer, type[Message]]]]:
        """What answers which call, by service and name."""
        return {
            "qdrant.Qdrant": {"HealthCheck": (self._health, grpc.HealthCheckRequest)},
            "qdrant.Collections": {
                "Create": (self._create, grpc.CreateCollection),
                "Delete": (self._drop, grpc.DeleteCollection),
                "List": (self._list, grpc.ListCollectionsRequest),
                "Get": (self._info, grpc.GetCollectionInfoRequest),
                "CollectionExists": (self._exists, grpc.CollectionExistsRequest),
                "UpdateAliases": (self._update_aliases, grpc.ChangeAliases),
                "ListAliases": (self._aliases, grpc.ListAliasesRequest),
            },
            "qdrant.Points": {
                "Upsert": (self._upsert, grpc.UpsertPoints),
                "Delete": (self._delete, grpc.DeletePoints),
                "UpdateVectors": (self._update_vectors, grpc.UpdatePointVectors),
                "DeleteVectors": (self._delete_vectors, grpc.DeletePointVectors),
                "Get": (self._get, grpc.GetPoints),
                "Query": (self._query, grpc.QueryPoints),
                "Count": (self._count, grpc.CountPoints),
                "Scroll": (self._scroll, grpc.ScrollPoints),
                "CreateFieldIndex": (self._create_index, grpc.CreateFieldIndexCollection),
            },
            "tamis.Engine": files.methods(self._collections),
        }

    async def _health(self, _: grpc.HealthCheckRequest) -> grpc.HealthCheckReply:
        return grpc.HealthCheckReply(title="tamis engine", version=version("qdrant-edge-py"))

    async def _create(self, request: grpc.CreateCollection) -> grpc.CollectionOperationResponse:
        self._collections.create(request)
        return grpc.CollectionOperationResponse(result=True)

    async def _drop(self, request: grpc.DeleteCollection) -> grpc.CollectionOperationResponse:
        await self._collections.drop(request.collection_name)
        return grpc.CollectionOperationResponse(result=True)

    async def _list(self, _: grpc.ListCollectionsRequest) -> grpc.ListCollectionsResponse:
        return grpc.ListCollectionsResponse(
            collections=[
                grpc.CollectionDescription(name=name) for name in self._collections.names()
            ]
        )

    async def _info(self, request: grpc.GetCollectionInfoRequest) -> grpc.GetCollectionInfoResponse:
        collection = self._collections[request.collection_name]
        return grpc.GetCollectionInfoResponse(
            result=schema.info(collection.description, collection.shard.info())
        )

    async def _exists(self, request: grpc.CollectionExistsRequest) -> grpc.CollectionExistsResponse:
        exists = request.collection_name in self._collections
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=exists))

    async def _update_aliases(
        self, request: grpc.ChangeAliases
    ) -> grpc.CollectionOperationResponse:
        self._collections.aliases.change(request.actions)
        return grpc.CollectionOperationResponse(result=True)

    async def _aliases(self, _: grpc.ListAliasesRequest) -> grpc.ListAliasesResponse:
        return grpc.ListAliasesResponse(
            aliases=[
                grpc.AliasDescription(alias_name=alias, collection_name=name)
                for alias, name in self._collections.aliases
            ]
        )

    async def _create_index(
        self, request: grpc.CreateFieldIndexCollection
    ) -> grpc.PointsOperationResponse:
        self._collections.disk.require(0)
        update = qdrant_edge.UpdateOperation.create_field_index(
            request.field_name, schema.field_type(request.field_type)
        )
        return await self._update(request.collection_name, update, 0)

    async def _upsert(self, request: grpc.UpsertPoints) -> grpc.PointsOperationResponse:
        points = [edge.point(point) for point in request.points]
        update = qdrant_edge.UpdateOperation.upsert_points(points)
        self._collections.disk.require(request.ByteSize())
        return await self._update(request.collection_name, update, len(points))

    async def _delete(self, request: grpc.DeletePoints) -> grpc.PointsOperationResponse:
        self._collections.disk.require_for_delete()
        operation = qdrant_edge.UpdateOperation
        if request.points.WhichOneof("points_selector_one_of") == "filter":
            update = operation.delete_points_by_filter(filter_of(request.points.filter))
        else:
            update = operation.delete_points([point_id(i) for i in request.points.points.ids])
        return await self._update(request.collection_name, update, len(request.points.points.ids))

    async def _update_vectors(
        self, request: grpc.UpdatePointVectors
    ) -> grpc.PointsOperationResponse:
        self._collections.disk.require(request.ByteSize())
        points = [edge.point_vectors(point) for point in request.points]
        where = filter_of(request.update_filter) if request.HasField("update_filter") else None
        update = qdrant_edge.UpdateOperation.update_vectors(points, where)
        return await self._update(request.collection_name, update, 0)

    async def _delete_vectors(
        self, request: grpc.DeletePointVectors
    ) -> grpc.PointsOperationResponse:
        update = qdrant_edge.UpdateOperation.delete_vectors_by_filter(
            filter_of(request.points_selector.filter), list(request.vectors.names)
        )
        return await self._update(request.collection_name, update, 0)

    async def _update(
        self, name: str, operation: qdrant_edge.UpdateOperation, count: int
    ) -> grpc.PointsOperationResponse:
        await self._collections[name].update(operation, count)
        return grpc.PointsOperationResponse(
            result=grpc.UpdateResult(status=grpc.UpdateStatus.Completed)
        )

    async def _get(self, request: grpc.GetPoints) -> grpc.GetResponse:
        found = self._collections[request.collection_name].shard.retrieve(
            [point_id(identifier) for identifier in request.ids],
            edge.with_payload(request.with_payload),
            edge.with_vectors(request.with_vectors),
        )
        response = grpc.GetResponse()
        for record in found:
            edge.fill_point(response.result.add(), record, self._pack)
        return response

    async def _query(self, request: grpc.QueryPoints) -> grpc.QueryResponse:
        start = time.perf_counter()
        shard = self._collections[request.collection_name].shard
        found = shard.query(edge.query(request))
        response = grpc.QueryResponse()
        for point in found:
            message = response.result.add(score=point.score, version=point.version)
            edge.fill_point(message, point, self._pack)
        response.time = time.perf_counter() - start
        return response

    async def _count(self, request: grpc.CountPoints) -> grpc.CountResponse:
        where = filter_of(request.filter) if request.HasField("filter") else None
        count = self._collections[request.collection_name].shard.count(
            qdrant_edge.CountRequest(exact=request.exact, filter=where)
        )
        return grpc.CountResponse(result=grpc.CountResult(count=count))

    async def _scroll(self, request: grpc.ScrollPoints) -> grpc.ScrollResponse:
        found, following = self._collections[request.collection_name].shard.scroll(
            qdrant_edge.ScrollRequest(
                offset=point_id(request.offset) if request.HasField("offset") else None,
                limit=request.limit if request.HasField("limit") else 10,
                filter=filter_of(request.filter) if request.HasField("filter") else None,
                with_payload=edge.with_payload(request.with_payload),
                with_vector=edge.with_vectors(request.with_vectors),
            )
        )
        response = grpc.ScrollResponse()
        if following is not None:
            edge.fill_id(response.next_page_offset, following)
        for record in found:
            edge.fill_point(response.result.add(), record, self._pack)
        return response
