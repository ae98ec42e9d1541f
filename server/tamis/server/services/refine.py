"""RefineService: a pipeline's refiners by themselves, and the contexts that were kept."""

from collections.abc import Mapping

import grpc.aio

from tamis.models.contexts import frames
from tamis.models.errors import InputError, TamisError
from tamis.models.types import Content, Query
from tamis.server.admission import Admission
from tamis.server.cache.contexts import ContextCache
from tamis.server.config import Limits
from tamis.server.content import raw_content
from tamis.server.errors import failure_of
from tamis.server.messages import context as context_message
from tamis.server.pipeline import Pipeline
from tamis.server.refining import Refine
from tamis.server.search import Context
from tamis.server.services.requests import chosen, delivery_of
from tamis.server.services.supplied import Supplied, failed, supplied
from tamis.server.tasks import together
from tamis.v1 import refine_service_pb2 as pb
from tamis.v1.refine_service_pb2_grpc import RefineServiceServicer

MAX_DOCUMENTS = 100


class RefineService(RefineServiceServicer):
    """Turns documents that the caller brings into one context, and gives kept ones back."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        contexts: ContextCache,
        limits: Limits,
        admission: Admission | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._contexts = contexts
        self._limits = limits
        self._admission = admission or Admission(limits)

    async def Refine(  # noqa: N802 - gRPC's name
        self, request: pb.RefineRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.RefineResponse:
        stage = chosen(self._pipelines, request).stage(Refine)
        if request.HasField("budget") and request.budget < 1:
            raise InputError("budget: must be at least 1 token, not 0")
        query = Query(Content())
        if request.HasField("query"):
            asked = raw_content(request.query, self._limits, where="query")
            query = Query(Content(text=asked.text, instruction=asked.instruction))
        documents, failures = supplied(request.documents, self._limits, MAX_DOCUMENTS)
        budget = request.budget if request.HasField("budget") else None
        with self._admission.place():
            made = await together(*(_refined(stage, query, d, budget) for d in documents))
            refined = await stage.read(
                Context.joined([one for one in made if isinstance(one, Context)])
            )
            refined, warnings = await stage.delivered(
                refined, delivery_of(request.context_delivery)
            )
        failures += failed(
            (name, error)
            for (name, _), error in zip(documents, made, strict=True)
            if isinstance(error, TamisError)
        )
        return pb.RefineResponse(
            context=context_message(refined),
            failures=failures,
            warnings=map(failure_of, warnings),
        )

    async def GetContext(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self,
        request: pb.GetContextRequest,
        context: grpc.aio.ServicerContext[pb.GetContextRequest, pb.GetContextResponse],
    ) -> None:
        with self._admission.place():
            pieces = frames.pieces(await self._contexts.fetch(request.handle))
            for number, piece in enumerate(pieces, 1):
                last = number == len(pieces)
                await context.write(pb.GetContextResponse(frame=bytes(piece), last=last))


async def _refined(
    stage: Refine, query: Query, document: Supplied, budget: int | None
) -> Context | TamisError:
    try:
        return await stage.document(query, *document, budget=budget)
    except TamisError as error:
        return error
