"""A small server of sessions, which answers each search of one as `fake_server`'s plays say."""

import asyncio
from dataclasses import dataclass
from typing import Any

from fake_server import Play, Retrieval

from tamis.v1 import failure_pb2
from tamis.v1 import retrieval_service_pb2 as pb


class RefusedError(Exception):
    """Ends one search with a failure."""

    def __init__(
        self, reason: failure_pb2.Reason.ValueType, message: str, retry_after_ms: int = 50
    ) -> None:
        self.failure = failure_pb2.Failure(
            reason=reason, message=message, retry_after_ms=retry_after_ms
        )


@dataclass(frozen=True)
class Writer:
    """What a play writes to: one search of a session."""

    name: str
    context: Any
    writing: asyncio.Lock

    async def write(self, response: pb.SearchResponse) -> None:
        await self.send(response=response)

    async def send(self, **outcome: Any) -> None:
        message = pb.SearchSessionResponse(request_id=self.name, **outcome)
        async with self.writing:
            write = asyncio.ensure_future(self.context.write(message))
            try:
                await asyncio.shield(write)
            except asyncio.CancelledError:  # gRPC still has the message
                await asyncio.wait({write})
                raise

    async def abort(self, *status: Any) -> None:
        await self.context.abort(*status)


class Sessions(Retrieval):
    """Runs each session's searches side by side; remembers what came."""

    def __init__(self, play: Play, messages: int | None = None) -> None:
        super().__init__(play)
        self._play = play
        self._messages = messages  # after so many, the server ends the stream
        self.timeouts: dict[str, float | None] = {}
        self.stopped: asyncio.Queue[str] = asyncio.Queue()  # the searches that were cancelled
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.open = 0
        self.over = asyncio.Event()

    async def SearchSession(self, messages: Any, context: Any) -> None:  # noqa: N802
        self.open += 1
        self.peers.add(context.peer())
        self.metadata.append(dict(context.invocation_metadata()))
        writing, running = asyncio.Lock(), dict[str, asyncio.Task[None]]()
        left = self._messages
        try:
            async with asyncio.TaskGroup() as group:
                async for message in messages:
                    if message.WhichOneof("action") == "cancel":
                        self.stopped.put_nowait(message.cancel)
                        running[message.cancel].cancel()
                    else:
                        search = message.search
                        name = search.request.request_id
                        timed = search.HasField("timeout")
                        self.timeouts[name] = search.timeout.ToMilliseconds() if timed else None
                        self.requests.append(search.request)
                        writer = Writer(name, context, writing)
                        running[name] = group.create_task(self._search(search.request, writer))
                    left = left and left - 1
                    if left == 0:
                        return
        except* Exception:  # noqa: BLE001 - a play ended the whole call
            pass
        finally:
            self.open -= 1
            self.over.set()

    async def _search(self, request: pb.SearchRequest, writer: Writer) -> None:
        self.began.put_nowait(request.query.text)
        try:
            await self._play(request, writer)
        except RefusedError as refused:
            await writer.send(failure=refused.failure)
