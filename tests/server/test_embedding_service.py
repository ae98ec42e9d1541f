"""EmbeddingService: what it tells the encoders' queues."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from tamis.server.config import Limits
from tamis.server.errors import DeadlineError
from tamis.server.services.embedding import EmbeddingService
from tamis.v1 import embedding_service_pb2 as pb
from tamis.v1 import failure_pb2


class Encoders:
    """One encoder that never has time."""

    heads = {"dense": None}

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    def __getitem__(self, name: str) -> "Encoders":
        return self

    def check(self, *_: object, **__: object) -> None: ...

    def served(self, name: str) -> "Encoders":
        return self

    async def encode(self, *_: object, deadline: float = math.inf, **__: object) -> None:
        self.deadlines.append(deadline)
        raise DeadlineError("no time was left")


@pytest.mark.parametrize("left_s", [1.0, None])
async def test_an_input_waits_no_longer_than_its_call(left_s: float | None) -> None:
    encoders: Any = Encoders()
    service = EmbeddingService(encoders, Limits())
    context: Any = SimpleNamespace(time_remaining=lambda: left_s)
    request = pb.EmbedRequest(encoder="any")
    request.inputs.add(text="a red bicycle")
    now = asyncio.get_running_loop().time()
    response = await service.Embed(request, context)
    assert response.results[0].failure.reason == failure_pb2.REASON_DEADLINE_EXCEEDED
    (deadline,) = encoders.deadlines
    # A little is kept for sending the answer.
    assert deadline == math.inf if left_s is None else now + 0.9 <= deadline < now + 1.0
