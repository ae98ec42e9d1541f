"""Many searches on one stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from tamis.models.errors import InputError
from tamis.server.errors import failure_of, logged
from tamis.v1 import retrieval_service_pb2 as pb

OUTGOING = 64  # messages that wait for the wire; a search with more to say waits itself


class Answer(Protocol):
    """Writes each event of one search as it happens, or raises why it cannot."""

    def __call__(
        self,
        request: pb.SearchRequest,
        write: Callable[[pb.SearchResponse], Awaitable[None]],
        *,
        timeout_s: float | None,
    ) -> Awaitable[None]:
        """Answers the search."""
        ...


class Session:
    """One SearchSession: its searches run side by side, each with its own timeout and cancel.

    gRPC takes one message of a stream at a time, and keeps one whose sender is cancelled: so one
    task sends them all. A client that leaves cancels the session, and with it every search that is
    under way.
    """

    def __init__(
        self, answer: Answer, write: Callable[[pb.SearchSessionResponse], Awaitable[None]]
    ) -> None:
        self._answer = answer
        self._write = write
        self._outgoing: asyncio.Queue[pb.SearchSessionResponse | None] = asyncio.Queue(OUTGOING)
        self._searches: dict[str, asyncio.Task[None]] = {}

    async def run(self, messages: AsyncIterator[pb.SearchSessionRequest]) -> None:
        """Takes messages until the client sends no more, and finishes what is under way."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._deliver())
            async with asyncio.TaskGroup() as searches:
                async for message in messages:
                    await self._take(message, searches)
            await self._outgoing.put(None)

    async def _take(self, message: pb.SearchSessionRequest, searches: asyncio.TaskGroup) -> None:
        if message.WhichOneof("action") == "cancel":
            if search := self._searches.get(message.cancel):
                search.cancel()
            return
        name = message.search.request.request_id
        if not name or name in self._searches:
            error = InputError(f"request_id: {name!r} must be set and differ from those in flight")
            await self._send(name, failure=failure_of(error))
            return
        self._searches[name] = searches.create_task(self._search(message.search))

    async def _search(self, search: pb.SessionSearch) -> None:
        name = search.request.request_id

        async def write(response: pb.SearchResponse) -> None:
            if response.HasField("summary"):  # the client may use the id again when it reads this
                self._forget(name)
            await self._send(name, response=response)

        timeout_s = None
        if search.HasField("timeout"):
            timeout_s = search.timeout.ToTimedelta().total_seconds()
        try:
            await self._answer(search.request, write, timeout_s=timeout_s)
        except Exception as error:  # noqa: BLE001 - one search must not end the others
            self._forget(name)
            await self._send(name, failure=failure_of(logged(error)))
        finally:
            self._forget(name)

    def _forget(self, name: str) -> None:
        if self._searches.get(name) is asyncio.current_task():
            del self._searches[name]

    async def _send(self, name: str, **outcome: object) -> None:
        response = pb.SearchSessionResponse(request_id=name, **outcome)  # type: ignore[arg-type]
        await self._outgoing.put(response)

    async def _deliver(self) -> None:
        while (response := await self._outgoing.get()) is not None:
            await self._write(response)
