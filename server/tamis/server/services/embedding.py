"""EmbeddingService: the encoders by themselves."""

import asyncio
from typing import NoReturn

import grpc.aio

from tamis.models.errors import InputError
from tamis.models.types import Encoding, Side
from tamis.server.config import Limits
from tamis.server.content import raw_content
from tamis.server.encoders import Encoders
from tamis.server.errors import UnimplementedError, failure_of
from tamis.server.messages import representation
from tamis.v1 import content_pb2
from tamis.v1 import embedding_service_pb2 as pb
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceServicer

_SIDES = {
    pb.SIDE_UNSPECIFIED: Side.QUERY,
    pb.SIDE_QUERY: Side.QUERY,
    pb.SIDE_DOCUMENT: Side.DOCUMENT,
}


class EmbeddingService(EmbeddingServiceServicer):
    """Encodes queries and documents."""

    def __init__(self, encoders: Encoders, limits: Limits) -> None:
        self._encoders = encoders
        self._limits = limits

    async def Embed(  # noqa: N802 - gRPC's name
        self, request: pb.EmbedRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.EmbedResponse:
        encoder, most = self._encoders[request.encoder], self._limits.max_batch_inputs
        if not 1 <= len(request.inputs) <= most:
            raise InputError(f"inputs: {len(request.inputs)}; from 1 to {most}")
        heads = list(request.heads) or list(encoder.heads)
        if unknown := [head for head in heads if head not in encoder.heads]:
            raise InputError(f"heads: {unknown[0]!r} is not one of {', '.join(encoder.heads)}")
        results = await asyncio.gather(
            *(
                self._embed(request.encoder, content, _SIDES[request.side], heads, i)
                for i, content in enumerate(request.inputs)
            )
        )
        return pb.EmbedResponse(results=results)

    async def EmbedStream(  # type: ignore[override]  # noqa: N802
        self, request_iterator: object, context: object
    ) -> NoReturn:
        raise UnimplementedError("EmbedStream is not there yet; use Embed")

    async def _embed(
        self, name: str, message: content_pb2.Content, side: Side, heads: list[str], number: int
    ) -> pb.EmbedResult:
        try:
            content = raw_content(message, self._limits, where=f"inputs[{number}]")
            self._encoders.check(name, content, where=f"inputs[{number}]")
            encoding = await self._encoders.encode(name, content, side)
        except Exception as error:  # noqa: BLE001 - one input must not fail the others
            return pb.EmbedResult(failure=failure_of(error))
        return pb.EmbedResult(embedding=self._embedding(name, encoding, heads))

    def _embedding(self, name: str, encoding: Encoding, heads: list[str]) -> pb.Embedding:
        return pb.Embedding(
            representations=[
                representation(f"{name}.{head}", encoding.heads[head])
                for head in heads
                if head in encoding.heads
            ],
            fingerprint=self._encoders[name].fingerprint,
        )
