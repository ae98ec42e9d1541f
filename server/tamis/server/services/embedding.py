"""EmbeddingService: the encoders by themselves."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio

from tamis.models.encoders import Encoder
from tamis.models.errors import InputError
from tamis.models.types import Encoding, Side
from tamis.server.admission import Admission
from tamis.server.config import Limits
from tamis.server.content import raw_content
from tamis.server.encoders import Encoders
from tamis.server.errors import failure_of, logged
from tamis.server.messages import representation
from tamis.server.services.requests import for_work
from tamis.server.tasks import together
from tamis.v1 import content_pb2
from tamis.v1 import embedding_service_pb2 as pb
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceServicer

_SIDES = {
    pb.SIDE_UNSPECIFIED: Side.QUERY,
    pb.SIDE_QUERY: Side.QUERY,
    pb.SIDE_DOCUMENT: Side.DOCUMENT,
}
# Inputs of one stream that are being encoded: enough for full batches. The next one is read from
# the wire when one of them is done, so a fast sender is slowed down, not buffered.
STREAM_AT_ONCE = 64


class EmbeddingService(EmbeddingServiceServicer):
    """Encodes queries and documents."""

    def __init__(
        self, encoders: Encoders, limits: Limits, admission: Admission | None = None
    ) -> None:
        self._encoders = encoders
        self._limits = limits
        self._admission = admission or Admission(limits)

    async def Embed(  # noqa: N802 - gRPC's name
        self, request: pb.EmbedRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.EmbedResponse:
        most = self._limits.max_batch_inputs
        if not 1 <= len(request.inputs) <= most:
            raise InputError(f"inputs: {len(request.inputs)}; from 1 to {most}")
        self._check_heads(request.encoder, request.heads)
        until = _until(context)
        with self._admission.place():
            results = await together(
                *(
                    self._embed(request, content, where=f"inputs[{number}]", until=until)
                    for number, content in enumerate(request.inputs)
                )
            )
        return pb.EmbedResponse(results=results)

    async def EmbedStream(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self,
        request_iterator: AsyncIterator[pb.EmbedStreamRequest],
        context: grpc.aio.ServicerContext[pb.EmbedStreamRequest, pb.EmbedStreamResponse],
    ) -> None:
        room, writing = asyncio.Semaphore(STREAM_AT_ONCE), asyncio.Lock()
        until = _until(context)

        async def answer(request: pb.EmbedStreamRequest) -> None:
            try:
                result = await self._embed(
                    request, request.input, where="input", until=until, bulk=True
                )
                response = pb.EmbedStreamResponse(input_id=request.input_id, result=result)
                async with writing:
                    await context.write(response)
            finally:
                room.release()

        async with asyncio.TaskGroup() as inputs:
            async for request in request_iterator:
                await room.acquire()
                inputs.create_task(answer(request))

    async def _embed(
        self,
        request: pb.EmbedRequest | pb.EmbedStreamRequest,
        message: content_pb2.Content,
        *,
        where: str,
        until: float,
        bulk: bool = False,
    ) -> pb.EmbedResult:
        name = request.encoder
        try:
            self._check_heads(name, request.heads)
            content = raw_content(message, self._limits, where=where)
            self._encoders.check(name, content, where=where)
            served = self._encoders.served(name)
            encoding = await served.encode(content, _SIDES[request.side], bulk=bulk, deadline=until)
        except Exception as error:  # noqa: BLE001 - one input must not fail the others
            return pb.EmbedResult(failure=failure_of(logged(error)))
        return pb.EmbedResult(embedding=_embedding(name, served.encoder, encoding, request.heads))

    def _check_heads(self, name: str, heads: Sequence[str]) -> None:
        known = self._encoders[name].heads
        if unknown := [head for head in heads if head not in known]:
            raise InputError(f"heads: {unknown[0]!r} is not one of {', '.join(known)}")


def _until(context: Any) -> float:
    """When the answer must be ready to be sent in time, on the event loop's clock."""
    left_s = context.time_remaining()  # None without a deadline, whatever its type says
    if left_s is None:
        return math.inf
    return asyncio.get_running_loop().time() + for_work(left_s)


def _embedding(
    name: str, encoder: Encoder, encoding: Encoding, heads: Sequence[str]
) -> pb.Embedding:
    return pb.Embedding(
        representations=[
            representation(f"{name}.{head}", encoding.heads[head])
            for head in heads or encoder.heads
            if head in encoding.heads
        ],
        fingerprint=encoder.fingerprint,
    )
