"""The asyncio client."""

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack

import grpc.aio

from tamis.client import calls, collection_calls, errors
from tamis.client.aio_hedging import AsyncHedged
from tamis.client.aio_session import AsyncSession
from tamis.client.aio_streams import AsyncSearchStream, AsyncUpsertStream
from tamis.client.aio_upkeep import AsyncUpkeep
from tamis.client.batches import Batches
from tamis.client.enums import ContextDelivery, Side, View
from tamis.client.filters import Filterable
from tamis.client.frames import Frames
from tamis.client.gates import AsyncGate, Size
from tamis.client.options import CALL_TIMEOUT_S, CHECK_TIMEOUT_S
from tamis.client.pool import Place
from tamis.client.results import Failure, Hit, OptimizeProgress, Ranked, Refined, StageResult
from tamis.client.searcher import Call
from tamis.client.searching import Search, SearchArguments
from tamis.client.surface import Surface
from tamis.client.tensors import Context, Embedding
from tamis.client.types import (
    CallOptions,
    Collection,
    Document,
    Input,
    SearchOptions,
    ServerInfo,
    TermWeighting,
)
from tamis.client.unary import Unary
from tamis.v1.retrieval_service_pb2 import SearchRequest

T = TypeVar("T")
P = ParamSpec("P")


class AsyncClient(
    AsyncUpkeep,
    Surface[AsyncSearchStream, AsyncUpsertStream, Iterable[Document] | AsyncIterable[Document]],
):
    """A client of one server, for one event loop."""

    _gate: AsyncGate

    def _new_gate(self, size: Size) -> AsyncGate:
        return AsyncGate(size, self._limit)

    def _channel(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.target, self._arguments)
        return grpc.aio.secure_channel(self.target, self._credentials, self._arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        for lane in self._made.lanes if self._made else ():
            await lane.channel.close()

    async def _limit(self, call: Call) -> int:
        left_s = call.left_s
        info = await self.info(timeout=CALL_TIMEOUT_S if left_s is None else left_s)
        return info.limits.max_in_flight

    async def _enter(self, call: Call) -> Place:
        await self._gate.enter(call)
        return self._limited_place()

    async def _ask(
        self, unary: Unary[T], options: CallOptions, timeout: float = CALL_TIMEOUT_S
    ) -> T:
        call = self._call(options, timeout)
        place = await self._enter(call) if unary.limited else self._place()
        try:
            response = await unary.method(place.lane.stubs)(unary.request, **call.arguments)
        except grpc.aio.AioRpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            place.leave()
        return unary.read(response)

    async def _send(self, request: SearchRequest, call: Call) -> Any:
        place = await self._enter(call)
        stream = place.held_by(place.lane.stubs.retrieval.Search, request, **call.arguments)
        if self._hedge_after_s is None:
            return stream
        self._allowance.earn()

        async def second() -> Any | None:
            if not await self._gate.try_enter():
                return None
            other = self._limited_place(beside=place.lane)
            if not self._allowance.spend():
                other.leave()
                return None
            return other.held_by(other.lane.stubs.retrieval.Search, request, **call.arguments)

        return AsyncHedged(stream, second, self._hedge_after_s)

    def _events(self, search: Search, describe: Callable[[], Call]) -> AsyncSearchStream:
        return AsyncSearchStream(search, describe, self._send)

    def session(self, **options: Unpack[CallOptions]) -> AsyncSession:
        return AsyncSession(
            self._place, lambda: self._call(options, math.inf), self._gate, self._timeout
        )

    def _upsert(
        self,
        batches: Batches,
        documents: Iterable[Document] | AsyncIterable[Document],
        describe: Callable[[], Call],
    ) -> AsyncUpsertStream:
        return AsyncUpsertStream(batches, documents, describe, self._place)

    async def hits(
        self, query: Input | None = None, *, collection: str, **options: Unpack[SearchArguments]
    ) -> list[Hit]:
        async with self.search(query, collection=collection, **options) as events:
            return list((await events.final()).hits)

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] = (),
        *,
        filter: Filterable | None = None,
        **options: Unpack[CallOptions],
    ) -> int:
        return await self._ask(collection_calls.delete(collection, ids, filter), options)

    async def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> list[Document]:
        return await self._ask(collection_calls.get(collection, ids, view), options)

    async def create_collection(
        self,
        name: str,
        vectors: Sequence[str] = (),
        *,
        weightings: Mapping[str, TermWeighting] = MappingProxyType({}),
        indexes: Mapping[str, str] = MappingProxyType({}),
        **options: Unpack[CallOptions],
    ) -> Collection:
        made = collection_calls.create_collection(name, vectors, weightings, indexes)
        return await self._ask(made, options)

    async def collection(self, name: str, **options: Unpack[CallOptions]) -> Collection:
        return await self._ask(collection_calls.collection(name), options)

    async def collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        return await self._ask(collection_calls.collections(), options)

    async def optimize_collection(
        self, name: str, *, retrain: bool = False, **options: Unpack[CallOptions]
    ) -> AsyncIterator[OptimizeProgress]:
        call, place = self._call(options, math.inf), self._place()
        stream = place.held_by(
            place.lane.stubs.collections.OptimizeCollection,
            collection_calls.optimize(name, retrain),
            **call.arguments,
        )
        try:
            async for response in stream:
                yield collection_calls.optimize_progress(response)
        except grpc.aio.AioRpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            stream.cancel()

    async def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> None:
        await self._ask(collection_calls.drop_collection(name), options)

    async def embed(
        self,
        encoder: str,
        inputs: Sequence[Input],
        side: str = Side.QUERY,
        heads: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> list[Embedding | Failure]:
        unary = await _made(inputs, calls.embed, encoder, inputs, side, heads)
        return await self._ask(unary, options)

    async def batch_search(
        self,
        queries: Sequence[Input],
        *,
        collection: str,
        k: int = 10,
        pipeline: str | None = None,
        filter: Filterable | None = None,
        view: str = View.PAYLOAD,
        **options: Unpack[SearchOptions],
    ) -> list[StageResult | Failure]:
        settings = (collection, k, pipeline, filter, view, options)
        unary = await _made(queries, calls.batch_search, queries, *settings)
        return await self._ask(unary, calls.call_options(options))

    async def rerank(
        self,
        query: Input,
        documents: Sequence[Document],
        pipeline: str | None = None,
        max_calls: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Ranked:
        unary = await _made([query], calls.rerank, query, documents, pipeline, max_calls)
        return await self._ask(unary, options)

    async def refine(
        self,
        query: Input | None,
        documents: Sequence[Document],
        pipeline: str | None = None,
        budget: int | None = None,
        context_delivery: str = ContextDelivery.INLINE,
        **options: Unpack[CallOptions],
    ) -> Refined:
        files = [] if query is None else [query]
        settings = (pipeline, budget, context_delivery)
        unary = await _made(files, calls.refine, query, documents, *settings)
        return await self._ask(unary, options)

    async def get_context(self, handle: str, **options: Unpack[CallOptions]) -> Context:
        call = self._call(options, CALL_TIMEOUT_S)
        place, frames = self._place(), Frames(call.request_id)
        stream = place.held_by(
            place.lane.stubs.refining.GetContext, frames.request(handle), **call.arguments
        )
        try:
            async for response in stream:
                frames.add(response)
        except grpc.aio.AioRpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            stream.cancel()
        return frames.joined()

    async def info(self, **options: Unpack[CallOptions]) -> ServerInfo:
        return await self._ask(calls.info(), options)

    async def ready(self, **options: Unpack[CallOptions]) -> bool:
        try:
            return await self._ask(calls.ready(), options, CHECK_TIMEOUT_S)
        except errors.TamisClientError as error:
            return calls.ready_despite(error)

    async def wait_until_ready(self, timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        for pause in calls.pauses():
            if await self.ready(timeout=max(0.0, min(CHECK_TIMEOUT_S, end - time.monotonic()))):
                return
            if time.monotonic() + pause > end:
                break
            await asyncio.sleep(pause)
        raise calls.not_ready(self.target, timeout)


async def _made(
    inputs: Sequence[Input], make: Callable[P, Unary[T]], *args: P.args, **named: P.kwargs
) -> Unary[T]:
    # Only pictures that are files need a thread; texts should not wait for one.
    if calls.reads_files(inputs):
        return await asyncio.to_thread(make, *args, **named)
    return make(*args, **named)
