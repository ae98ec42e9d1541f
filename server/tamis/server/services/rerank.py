"""RerankService: a pipeline's reranker by itself."""

import time
from collections.abc import Mapping

import grpc.aio

from tamis.models.errors import TamisError
from tamis.models.rerankers import Reranker
from tamis.models.types import Candidate, Content, Representation, Side
from tamis.server.admission import Admission
from tamis.server.config import Limits
from tamis.server.content import RawContent, raw_content
from tamis.server.encoders import Encoders
from tamis.server.pipeline import Pipeline
from tamis.server.reranking import best_ranking, clock_until
from tamis.server.services.requests import chosen
from tamis.server.services.supplied import Supplied, failed, supplied
from tamis.server.stages import Rerank
from tamis.server.tasks import together
from tamis.v1 import rerank_service_pb2 as pb
from tamis.v1 import stage_pb2
from tamis.v1.rerank_service_pb2_grpc import RerankServiceServicer

MAX_DOCUMENTS = 1_000


class RerankService(RerankServiceServicer):
    """Orders documents that the caller brings."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        encoders: Encoders,
        limits: Limits,
        admission: Admission | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._encoders = encoders
        self._limits = limits
        self._admission = admission or Admission(limits)

    async def Rerank(  # noqa: N802 - gRPC's name
        self, request: pb.RerankRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.RerankResponse:
        with self._admission.place():
            return await self._reranked(request, context.time_remaining())

    async def _reranked(
        self, request: pb.RerankRequest, timeout_s: float | None
    ) -> pb.RerankResponse:
        started, clock = time.perf_counter(), clock_until(timeout_s)
        reranker = chosen(self._pipelines, request).stage(Rerank).reranker
        asked = raw_content(request.query, self._limits, where="query")
        documents, failures = supplied(request.documents, self._limits, MAX_DOCUMENTS)
        query, _ = await self._encoders.query(asked, reranker.needs)
        made = await together(*(self._candidate(d, reranker) for d in documents))
        candidates = [candidate for candidate in made if isinstance(candidate, Candidate)]
        failures += failed(
            (name, error)
            for (name, _), error in zip(documents, made, strict=True)
            if isinstance(error, TamisError)
        )
        most = request.max_calls if request.HasField("max_calls") else None
        ranked = await best_ranking(reranker, query, candidates, clock, max_calls=most)
        before = {c.document_id: place for place, c in enumerate(candidates)}
        hits = [
            stage_pb2.Hit(
                document_id=c.document_id, score=c.score, movement=before[c.document_id] - place
            )
            for place, c in enumerate(ranked)
        ]
        timing = stage_pb2.StageTiming(
            stage=stage_pb2.STAGE_RERANK,
            total_us=round(1e6 * (time.perf_counter() - started)),
            model_us=round(1e6 * clock.model_s),
            model_calls=clock.calls,
            model_tokens=clock.tokens,
        )
        return pb.RerankResponse(
            hits=hits, failures=failures, timing=timing, shortened=bool(clock.cut_off)
        )

    async def _candidate(self, document: Supplied, reranker: Reranker) -> Candidate | TamisError:
        name, raw = document
        try:
            content = await raw.decoded() if reranker.reads_images else Content(raw.text)
            return Candidate(name, 0.0, content, await self._encoded(raw, reranker.needs))
        except TamisError as error:
            return error

    async def _encoded(
        self, content: RawContent, needs: tuple[str, ...]
    ) -> dict[str, Representation]:
        found: dict[str, Representation] = {}
        for name in sorted({full.partition(".")[0] for full in needs}):
            if self._encoders[name].modalities & content.modalities:
                encoding = await self._encoders.encode(name, content, Side.DOCUMENT)
                found |= {f"{name}.{head}": value for head, value in encoding.heads.items()}
        return found
