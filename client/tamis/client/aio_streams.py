"""The asyncio client's streams."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc.aio

from tamis.client import errors, result_messages
from tamis.client.batches import Batches
from tamis.client.events import SearchEvents, UpsertTotals
from tamis.client.pool import Place
from tamis.client.results import Event, StageResult, UpsertProgress
from tamis.client.searcher import Call
from tamis.client.searching import Search
from tamis.client.types import Document
from tamis.v1.collection_service_pb2 import UpsertDocumentsRequest
from tamis.v1.retrieval_service_pb2 import SearchRequest

T = TypeVar("T")


class AsyncStream(Generic[T]):
    """Answers that come one by one. The call begins with the first that is asked for.

    gRPC does not end a call whose stream is abandoned (grpc#43462, since 1.83): use `async with`,
    or read to the end. A stream that is dropped is cancelled when Python collects it.
    """

    def __init__(self, describe: Callable[[], Call]) -> None:
        self._describe = describe
        self._stream: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self._cancelled = False
        self.request_id = ""

    @abstractmethod
    async def _start(self, call: Call) -> Any:
        """Begins the call."""

    @abstractmethod
    async def _next(self) -> T | None:
        """The next answer, or None at the end."""

    def _hold(self, stream: Any) -> None:
        self._stream = stream
        if self._cancelled:  # by another task, while the call began
            stream.cancel()

    async def _begin(self) -> None:
        if self._stream is None and not self._cancelled and not self._ended:
            self._loop = asyncio.get_running_loop()
            call = self._describe()
            self.request_id = call.request_id
            self._hold(await self._start(call))

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await self._begin()
        if self._ended:
            raise StopAsyncIteration
        try:
            answer = None if self._cancelled else await self._next()
        except grpc.aio.AioRpcError as error:
            self._ended = True
            raise errors.of_call(error, self.request_id) from error
        except errors.TamisClientError:  # of a session's search
            self._ended = True
            raise
        except asyncio.CancelledError:
            # gRPC says this of a call that `cancel` ended too; the task itself goes on then.
            task = asyncio.current_task()
            if not self._cancelled or (task and task.cancelling()):
                self.cancel()
                raise
            answer = None
        except BaseException:
            self.cancel()
            raise
        if self._cancelled:
            raise errors.CallCancelledError("cancelled", request_id=self.request_id)
        if answer is None:
            self._ended = True
            raise StopAsyncIteration
        return answer

    def cancel(self) -> None:
        """Ends the call; nothing happens where it is over."""
        if not self._ended and not self._cancelled:
            self._cancelled = True
            if self._stream is not None:
                self._stream.cancel()

    def __del__(self) -> None:
        # The collector may run in any thread, and after the loop is closed.
        if self._stream is not None and not self._ended and not self._cancelled and self._loop:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stream.cancel)


class AsyncSearchStream(SearchEvents, AsyncStream[Event]):
    """The events of one search."""

    def __init__(
        self,
        search: Search,
        describe: Callable[[], Call],
        send: Callable[[SearchRequest, Call], Awaitable[Any]],
    ) -> None:
        SearchEvents.__init__(self)
        AsyncStream.__init__(self, describe)
        self._search = search
        self._send = send

    async def _start(self, call: Call) -> Any:
        if self._search.picture is not None:
            await asyncio.to_thread(self._search.load)
        self._search.request.request_id = call.request_id
        stream = await self._send(self._search.request, call)
        self._responses = aiter(stream)
        return stream

    async def _next(self) -> Event | None:
        async for response in self._responses:
            if (event := self._take(response)) is not None:
                return event
        return None

    async def first(self, stage: str) -> StageResult | None:
        """Reads on to the result of `stage`; None where the search ends without it."""
        while (found := self._known(stage)) is None and await anext(self, None) is not None:
            pass
        return found

    async def final(self) -> StageResult:
        """Reads to the end; the best ranking, which is the last.

        Raises:
            UnavailableError: No stage has a result.
        """
        async for _ in self:
            pass
        return self._last()


class AsyncUpsertStream(UpsertTotals, AsyncStream[UpsertProgress]):
    """The progress of one upsert."""

    def __init__(
        self,
        batches: Batches,
        documents: Iterable[Document] | AsyncIterable[Document],
        describe: Callable[[], Call],
        place: Callable[[], Place],
    ) -> None:
        UpsertTotals.__init__(self)
        AsyncStream.__init__(self, describe)
        self._place = place
        self._requests = _requests(batches, documents)
        self._ready: UpsertDocumentsRequest | None = None
        self._waiting = 0

    async def _start(self, call: Call) -> Any:
        place = self._place()
        return place.held_by(place.lane.stubs.collections.UpsertDocuments, **call.arguments)

    async def _next(self) -> UpsertProgress | None:
        # One message at a time: where a server ends the call while another is being written, grpc
        # (1.85) loses the status and says INTERNAL. The next one is made while the server works.
        request = self._ready or await anext(self._requests, None)
        self._ready = None
        if request is None:
            await self._stream.done_writing()
        else:
            self._waiting += 1
            # A call that is over refuses to write; the read says why it is over.
            with suppress(asyncio.InvalidStateError):
                await self._stream.write(request)
            self._ready = await anext(self._requests, None)
        response = await self._stream.read()
        if response is not grpc.aio.EOF:
            self._waiting -= 1
            return self._count(result_messages.progress(response))
        self._check_end(self._waiting, self.request_id)
        return None

    async def final(self) -> UpsertProgress:
        """Sends everything; the totals, with all failures."""
        async for _ in self:
            pass
        return self.total


async def _requests(
    batches: Batches, documents: Iterable[Document] | AsyncIterable[Document]
) -> AsyncIterator[UpsertDocumentsRequest]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            if (request := batches.add(document)) is not None:
                yield request
    else:
        for document in documents:
            if (request := batches.add(document)) is not None:
                yield request
    if (request := batches.rest()) is not None:
        yield request
