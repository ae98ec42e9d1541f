"""One stream's requests: their order, their last responses, and how one fails alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tamis.models.errors import InputError
from tamis.server.oip.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from tamis.server.oip.stream import AT_ONCE, EMPTY_FINAL, FINAL, Stream
from tamis.server.oip.wire import Response

Write = Callable[[Any, bool], Awaitable[None]]


class Desk:
    """Takes requests whose model says how they are answered, and keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.open = asyncio.Event()
        self.two = asyncio.Event()  # requests are under way
        self.running = 0
        self.most = 0

    async def infer(self, request: Any, write: Write) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 2:
            self.two.set()
        try:
            match request.model_name:
                case "late":
                    await self.open.wait()
                case "opens":
                    self.open.set()
                case "bad":
                    raise InputError("it is bad")
                case "broken":
                    raise ZeroDivisionError("a secret")
                case "twice":
                    await write(Response(ModelInferResponse(id=request.id)), False)
                case "endless":
                    await write(Response(ModelInferResponse(id=request.id)), False)
                    return
            await write(Response(ModelInferResponse(id=request.id)), True)
        finally:
            self.running -= 1

    async def run(self, *requests: Any) -> list[tuple[str, str, bool]]:
        """What is sent: ids, errors, and which are final."""

        async def coming() -> AsyncIterator[Any]:
            for request in requests:
                yield request

        async def write(message: bytes) -> None:
            await asyncio.sleep(0)
            self.sent.append(ModelStreamInferResponse.FromString(message))

        decoupled = {"twice", "endless"}
        await Stream(self.infer, lambda r: r.model_name in decoupled, write).run(coming())
        return [
            (m.infer_response.id, m.error_message, m.infer_response.parameters[FINAL].bool_param)
            for m in self.sent
        ]


def request(model: str, name: str, *, empty_final: bool = False) -> Any:
    made = ModelInferRequest(model_name=model, id=name)
    if empty_final:
        made.parameters[EMPTY_FINAL].bool_param = True
    return made


async def test_models_that_answer_once_are_answered_in_order() -> None:
    sent = await Desk().run(request("late", "1"), request("bad", "2"), request("opens", "3"))
    assert sent == [("1", "", True), ("2", "it is bad", True), ("3", "", True)]


async def test_decoupled_ones_wait_for_nobody() -> None:
    sent = await Desk().run(request("late", "1"), request("twice", "2"), request("opens", "3"))
    assert sent == [("2", "", False), ("2", "", True), ("1", "", True), ("3", "", True)]


async def test_an_error_that_nobody_foresaw_keeps_its_secret() -> None:
    assert await Desk().run(request("broken", "1")) == [("1", "internal error", True)]


@pytest.mark.parametrize("asked", [True, False])
async def test_an_empty_final_response_comes_when_asked_for_and_needed(asked: bool) -> None:
    sent = await Desk().run(request("endless", "1", empty_final=asked))
    assert sent == [("1", "", False), *([("1", "", True)] if asked else [])]


async def test_an_empty_final_response_is_not_sent_after_a_final_one() -> None:
    sent = await Desk().run(request("twice", "1", empty_final=True))
    assert sent == [("1", "", False), ("1", "", True)]


async def test_a_fast_sender_is_slowed_down() -> None:
    desk = Desk()
    late = [request("late", str(n)) for n in range(AT_ONCE - 1)]
    await desk.run(*late, request("opens", "x"), *[request("now", "y") for _ in range(50)])
    assert desk.most == AT_ONCE
    assert len(desk.sent) == AT_ONCE + 50


async def test_a_client_that_leaves_takes_its_requests_along() -> None:
    desk = Desk()
    run = asyncio.create_task(desk.run(request("late", "1"), request("late", "2")))
    async with asyncio.timeout(10):
        await desk.two.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert desk.running == 0
