"""Many searches on one stream: asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, Unpack

import grpc.aio

from tamis.client import errors
from tamis.client import session as wire
from tamis.client.aio_streams import AsyncSearchStream
from tamis.client.gates import AsyncGate
from tamis.client.pool import Place
from tamis.client.results import Hit
from tamis.client.searcher import Call, Searcher
from tamis.client.searching import Search, SearchArguments
from tamis.client.types import Input
from tamis.v1.retrieval_service_pb2 import (
    SearchRequest,
    SearchResponse,
    SearchSessionRequest,
)


class AsyncAnswers:
    """What the server says of one search of a session.

    A search has four events at most, so they need no bound while its reader is busy elsewhere, and
    no reader holds up another's.
    """

    def __init__(self, session: "AsyncSession", name: str, attempts: wire.Attempts) -> None:
        self._session = session
        self._name = name
        self.attempts = attempts
        self._inbox: asyncio.Queue[wire.Answer | float | None] = asyncio.Queue()
        self.timer: asyncio.TimerHandle | None = None

    def put(self, answer: wire.Answer | float | None) -> None:
        """Takes a response, the error that ends the search, or None for its good end.

        A number is of seconds after which the search is sent again.
        """
        self._inbox.put_nowait(answer)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SearchResponse:
        answer = await self._inbox.get()
        while isinstance(answer, float):
            try:
                async with asyncio.timeout(answer):
                    answer = await self._inbox.get()
            except TimeoutError:
                self._session.again(self._name, self)
                answer = await self._inbox.get()
        if isinstance(answer, errors.TamisClientError):
            raise answer
        if answer is None:
            raise StopAsyncIteration
        return answer

    def cancel(self) -> None:
        self._session.stop(self._name, self)


class AsyncSession(Searcher[AsyncSearchStream]):
    """Many searches on one stream; see `AsyncClient.session`. Use it in an `async with` block."""

    _shared = frozenset({"traceparent"})

    def __init__(
        self,
        place: Callable[[], Place],
        describe: Callable[[], Call],
        gate: AsyncGate,
        timeout: float,
    ) -> None:
        super().__init__(timeout)
        self._place = place
        self._describe = describe
        self._gate = gate
        self._searches: dict[str, AsyncAnswers] = {}
        self._sent: asyncio.Queue[SearchSessionRequest | None] = asyncio.Queue()
        self._over: errors.TamisClientError | None = wire.not_open()
        self._stream: Any = None
        self.request_id = ""

    async def __aenter__(self) -> Self:
        call = self._describe()
        self.request_id = call.request_id
        place = self._place()
        method = place.lane.stubs.retrieval.SearchSession
        self._stream = place.held_by(method, self._messages(), **call.arguments)
        self._over = None
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the searches that still run, and the stream."""
        self._fail(wire.closed(self.request_id))
        if self._stream is not None:
            self._stream.cancel()
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def _events(self, search: Search, describe: Callable[[], Call]) -> AsyncSearchStream:
        return AsyncSearchStream(search, describe, self._send)

    async def hits(
        self, query: Input | None = None, *, collection: str, **options: Unpack[SearchArguments]
    ) -> list[Hit]:
        async with self.search(query, collection=collection, **options) as events:
            return list((await events.final()).hits)

    async def _send(self, request: SearchRequest, call: Call) -> AsyncAnswers:
        name = request.request_id
        await self._gate.enter(call)
        if self._over is not None or name in self._searches:
            self._gate.leave()
            raise wire.twice(name) if self._over is None else errors.again(self._over, name)
        answers = AsyncAnswers(self, name, wire.Attempts(request, call))
        if (left_s := call.left_s) is not None:
            loop = asyncio.get_running_loop()
            answers.timer = loop.call_later(max(0.0, left_s), self._expire, name, answers)
        self._searches[name] = answers
        self._sent.put_nowait(answers.attempts.message())
        return answers

    async def _messages(self) -> AsyncIterator[SearchSessionRequest]:
        while (message := await self._sent.get()) is not None:
            yield message

    async def _read(self) -> None:
        error = wire.ended(self.request_id)
        try:
            async for message in self._stream:
                self._dispatch(*wire.answer(message))
        except grpc.aio.AioRpcError as broken:
            error = errors.of_call(broken, self.request_id)
        except asyncio.CancelledError:  # the client is closed
            error = wire.closed(self.request_id)
            raise
        finally:
            self._fail(error)

    def _dispatch(self, name: str, answer: wire.Answer, last: bool) -> None:
        answers = self._searches.get(name)
        if answers is None:  # cancelled, or timed out here
            return
        again_s = answers.attempts.again_s(answer)
        answers.put(answer if again_s is None else again_s)
        if last and again_s is None:
            self._end(name, answers, None)

    def _expire(self, name: str, answers: AsyncAnswers) -> None:
        self.stop(name, answers, wire.expired(name))

    def again(self, name: str, answers: AsyncAnswers) -> None:
        """Sends one search again; nothing happens where it is over."""
        if self._searches.get(name) is answers:
            self._sent.put_nowait(answers.attempts.message())

    def stop(
        self, name: str, answers: AsyncAnswers, why: errors.TamisClientError | None = None
    ) -> None:
        """Ends one search, here and at the server; nothing happens where it is over."""
        if self._searches.get(name) is answers:
            self._sent.put_nowait(SearchSessionRequest(cancel=name))
            self._end(name, answers, why)

    def _end(self, name: str, answers: AsyncAnswers, why: errors.TamisClientError | None) -> None:
        del self._searches[name]
        if answers.timer is not None:
            answers.timer.cancel()
        answers.put(why)
        self._gate.leave()

    def _fail(self, error: errors.TamisClientError) -> None:
        if self._over is None:
            self._over = error
            self._sent.put_nowait(None)  # lets gRPC's task go
            for name, answers in list(self._searches.items()):
                self._end(name, answers, errors.again(error, name))
