"""The asyncio client."""

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc.aio

from tamis.client import calls, errors
from tamis.client.aio_streams import AsyncSearchStream, AsyncUpsertStream
from tamis.client.batches import Batches
from tamis.client.calls import Stubs, Unary
from tamis.client.enums import Side, View
from tamis.client.filters import Filterable
from tamis.client.options import CALL_TIMEOUT_S, CHECK_TIMEOUT_S
from tamis.client.searching import Search, SearchArguments
from tamis.client.surface import Call, Surface
from tamis.client.tensors import Embedding
from tamis.client.types import (
    CallOptions,
    Collection,
    Document,
    Failure,
    Hit,
    Input,
    ServerInfo,
)

T = TypeVar("T")


class AsyncClient(
    Surface[AsyncSearchStream, AsyncUpsertStream, Iterable[Document] | AsyncIterable[Document]]
):
    """A client of one server, for one event loop."""

    _channel: grpc.aio.Channel | None = None
    _made: Stubs | None = None

    def _stubs(self) -> Stubs:
        # A channel belongs to the loop that runs when it is made, which __init__ may not have.
        if self._made is None:
            self._channel = (
                grpc.aio.insecure_channel(self.target, self._arguments)
                if self._credentials is None
                else grpc.aio.secure_channel(self.target, self._credentials, self._arguments)
            )
            self._made = Stubs(self._channel)
        return self._made

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
        if self._channel is not None:
            await self._channel.close()

    async def _ask(
        self, unary: Unary[T], options: CallOptions, timeout: float = CALL_TIMEOUT_S
    ) -> T:
        call = self._call(options, timeout)
        try:
            response = await unary.method(call.stubs)(unary.request, **call.arguments)
        except grpc.aio.AioRpcError as error:
            raise errors.of_call(error, call.request_id) from error
        return unary.read(response)

    def _events(self, search: Search, open_call: Callable[[], Call]) -> AsyncSearchStream:
        return AsyncSearchStream(search, open_call)

    def _upsert(
        self,
        batches: Batches,
        documents: Iterable[Document] | AsyncIterable[Document],
        open_call: Callable[[], Call],
    ) -> AsyncUpsertStream:
        return AsyncUpsertStream(batches, documents, open_call)

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
        return await self._ask(calls.delete(collection, ids, filter), options)

    async def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> list[Document]:
        return await self._ask(calls.get(collection, ids, view), options)

    async def create_collection(
        self, name: str, vectors: Sequence[str] = (), **options: Unpack[CallOptions]
    ) -> Collection:
        return await self._ask(calls.create_collection(name, vectors), options)

    async def collection(self, name: str, **options: Unpack[CallOptions]) -> Collection:
        return await self._ask(calls.collection(name), options)

    async def collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        return await self._ask(calls.collections(), options)

    async def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> None:
        await self._ask(calls.drop_collection(name), options)

    async def embed(
        self,
        encoder: str,
        inputs: Sequence[Input],
        side: str = Side.QUERY,
        heads: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> list[Embedding | Failure]:
        # Only pictures that are files need a thread; texts should not wait for one.
        if calls.reads_files(inputs):
            unary = await asyncio.to_thread(calls.embed, encoder, inputs, side, heads)
        else:
            unary = calls.embed(encoder, inputs, side, heads)
        return await self._ask(unary, options)

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
