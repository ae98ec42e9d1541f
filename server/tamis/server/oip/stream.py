"""One ModelStreamInfer: many requests on a stream, each of which may fail alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

import grpc.aio

from tamis.server.errors import failure_of, logged
from tamis.server.oip.messages import ModelInferResponse
from tamis.server.oip.wire import Response

FINAL: Final = "triton_final_response"
EMPTY_FINAL: Final = "triton_enable_empty_final_response"
# Requests of one stream that are under way; the next one is read when one of them is done.
AT_ONCE: Final = 64

Write = Callable[[bytes], Awaitable[None]]


class Infer(Protocol):
    """Gives `write` each response to a request, and says whether it is the last."""

    def __call__(
        self, request: Any, write: Callable[[Response, bool], Awaitable[None]]
    ) -> Awaitable[None]:
        """Answers the request."""
        ...


class Stream:
    """Answers a stream's requests side by side.

    Models that answer once are answered in the order of the requests, as Triton does; those that
    are decoupled as they come. The last response to a request carries `triton_final_response`.

    Args:
        infer: Answers one request.
        decoupled: Whether a request's model is.
        write: Sends a serialised `ModelStreamInferResponse`; one at a time.
    """

    def __init__(self, infer: Infer, decoupled: Callable[[Any], bool], write: Write) -> None:
        self._infer = infer
        self._decoupled = decoupled
        self._write = write
        self._writing = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Takes requests until the client sends no more, and finishes what is under way."""
        turn = asyncio.Event()
        turn.set()
        async with asyncio.TaskGroup() as group:
            async for request in requests:
                await self._room.acquire()
                if self._decoupled(request):
                    group.create_task(self._answer(request, None))
                else:
                    after = asyncio.Event()
                    group.create_task(self._in_turn(request, turn, after))
                    turn = after

    async def _in_turn(self, request: Any, turn: asyncio.Event, after: asyncio.Event) -> None:
        try:
            await self._answer(request, turn)
            await turn.wait()
        finally:
            after.set()

    async def _answer(self, request: Any, turn: asyncio.Event | None) -> None:
        ended = False

        async def send(response: Response, final: bool, error: str = "") -> None:
            nonlocal ended
            ended = final
            response.message.parameters[FINAL].bool_param = final
            message = response.packed_for_stream(error)
            if turn is not None:
                await turn.wait()
            async with self._writing:
                await self._write(message)

        try:
            await self._infer(request, send)
        except grpc.aio.BaseError:  # the client has left: there is nobody to tell
            raise
        except Exception as error:  # noqa: BLE001 - one request must not end the others
            message = failure_of(logged(error)).message
            await send(_empty(request), True, message)
        else:
            if not ended and request.parameters[EMPTY_FINAL].bool_param:
                await send(_empty(request), True)
        finally:
            self._room.release()


def _empty(request: Any) -> Response:
    return Response(ModelInferResponse(model_name=request.model_name, id=request.id))
