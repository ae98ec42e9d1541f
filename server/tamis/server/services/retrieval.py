"""RetrievalService: turns requests into searches and a search's events into responses."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

import grpc.aio

from tamis.models.errors import InputError
from tamis.server.admission import Admission
from tamis.server.cache.embeddings import Source
from tamis.server.collections import Collections
from tamis.server.config import ServerSettings
from tamis.server.errors import (
    DeadlineError,
    failure_of,
    logged,
)
from tamis.server.messages import context as context_message
from tamis.server.messages import document
from tamis.server.metrics import Metrics
from tamis.server.pipeline import Event, Pipeline, StageDone
from tamis.server.search import Search as Asked
from tamis.server.services.requests import chosen, for_work, search_of
from tamis.server.services.session import Session
from tamis.server.tasks import together
from tamis.v1 import document_pb2, stage_pb2
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceServicer

MAX_BATCH = 256
BATCH_AT_ONCE = 8  # searches of one batch: the others wait, so that it crowds nobody out
_SOURCES = {
    Source.ENCODER: pb.EMBEDDING_SOURCE_ENCODER,
    Source.LOCAL: pb.EMBEDDING_SOURCE_LOCAL_CACHE,
    Source.REDIS: pb.EMBEDDING_SOURCE_REDIS,
    Source.COALESCED: pb.EMBEDDING_SOURCE_COALESCED,
}

Write = Callable[[pb.SearchResponse], Awaitable[None]]


class RetrievalService(RetrievalServiceServicer):
    """Answers queries with the server's pipelines."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        collections: Collections,
        settings: ServerSettings,
        metrics: Metrics | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._collections = collections
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._admission = admission or Admission(settings.limits, metrics)

    async def Search(  # type: ignore[override]  # noqa: N802 - gRPC's name; writes, never yields
        self,
        request: pb.SearchRequest,
        context: grpc.aio.ServicerContext[pb.SearchRequest, pb.SearchResponse],
    ) -> None:
        remaining = context.time_remaining()
        await self.answer(request, context.write, timeout_s=remaining)

    async def SearchSession(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self,
        request_iterator: AsyncIterator[pb.SearchSessionRequest],
        context: grpc.aio.ServicerContext[pb.SearchSessionRequest, pb.SearchSessionResponse],
    ) -> None:
        await Session(self.answer, context.write).run(request_iterator)

    async def BatchSearch(  # noqa: N802
        self,
        request: pb.BatchSearchRequest,
        context: grpc.aio.ServicerContext[object, object],
    ) -> pb.BatchSearchResponse:
        if not 1 <= len(request.requests) <= MAX_BATCH:
            raise InputError(f"requests: {len(request.requests)}; from 1 to {MAX_BATCH}")
        room, timeout_s = asyncio.Semaphore(BATCH_AT_ONCE), context.time_remaining()
        return pb.BatchSearchResponse(
            results=await together(
                *(self._last_stage(search, room, timeout_s) for search in request.requests)
            )
        )

    async def _last_stage(
        self, request: pb.SearchRequest, room: asyncio.Semaphore, timeout_s: float | None
    ) -> pb.BatchSearchResult:
        last = pb.BatchSearchResult()

        async def keep(response: pb.SearchResponse) -> None:
            if response.WhichOneof("event") == "result":
                last.result.CopyFrom(response.result)
                last.stage = response.stage

        try:
            async with room:
                await self.answer(request, keep, timeout_s=timeout_s)
        except Exception as error:  # noqa: BLE001 - one search must not fail the others
            return pb.BatchSearchResult(failure=failure_of(logged(error)))
        return last

    async def answer(
        self, request: pb.SearchRequest, write: Write, *, timeout_s: float | None
    ) -> None:
        """Writes each event of one search as it happens, the summary last.

        Raises:
            TamisError: There is nothing to answer with: the request is refused, or its first
                stage failed.
        """
        started = time.perf_counter()
        deadline = asyncio.get_running_loop().time() + self._time_s(timeout_s)
        with self._admission.place():
            pipeline = chosen(self._pipelines, request)
            search = search_of(request, self._settings.limits)
            named = await self._collections.aliases.resolve(search.collection)
            search = replace(search, collection=named)
            responses = _Responses(request, search, self._collections, write, self._metrics)
            search = await pipeline.run(search, responses.emit, deadline=deadline)
            await responses.summary(search, time.perf_counter() - started)

    def _time_s(self, timeout_s: float | None) -> float:
        if timeout_s is None:
            return self._settings.search_timeout_s
        if timeout_s <= 0:
            raise DeadlineError("the deadline had passed when the request arrived")
        return for_work(timeout_s)


class _Responses:
    """Turns a pipeline's events into one search's responses."""

    def __init__(
        self,
        request: pb.SearchRequest,
        search: Asked,
        collections: Collections,
        write: Write,
        metrics: Metrics,
    ) -> None:
        self._request = request
        self._search = search
        self._collections = collections
        self._write = write
        self._metrics = metrics
        self._started = time.perf_counter()
        self._request_id = request.request_id or uuid.uuid4().hex
        self._sequence = 0
        self._documents: dict[str, document_pb2.Document] = {}
        self._final = stage_pb2.STAGE_UNSPECIFIED

    async def emit(self, event: Event) -> None:
        if isinstance(event, StageDone):
            self._final = event.stage.kind
            response = self._response(event.stage.kind)
            await self._fill(response.result, event)
            await self._write(response)
            if event.partial:
                return
            since_s = time.perf_counter() - self._started
            self._metrics.stage_done(_word(event.stage.kind), event.seconds, since_s)
        else:
            reason = stage_pb2.SkipReason.Name(event.reason).removeprefix("SKIP_REASON_").lower()
            self._metrics.stage_skipped(_word(event.kind), reason)
            response = self._response(event.kind)
            response.skipped.reason, response.skipped.message = event.reason, event.message
            await self._write(response)

    async def summary(self, search: Asked, seconds: float) -> None:
        response = self._response(stage_pb2.STAGE_UNSPECIFIED)
        summary = response.summary
        summary.final_stage, summary.total_us = self._final, _us(seconds)
        summary.warnings.extend(map(failure_of, search.warnings))
        if search.source is not None:
            summary.embedding_source = _SOURCES[search.source]
        elif search.given:
            summary.embedding_source = pb.EMBEDDING_SOURCE_REQUEST
        await self._write(response)

    def _response(self, stage: stage_pb2.Stage.ValueType) -> pb.SearchResponse:
        """The next response, whose event is filled in place: a message set whole is copied."""
        response = pb.SearchResponse(
            request_id=self._request_id, sequence=self._sequence, stage=stage
        )
        self._sequence += 1
        return response

    async def _document(self, search: Asked, document_id: str) -> document_pb2.Document:
        """The document, made once: most hits of one stage are in the next one too."""
        if document_id not in self._documents:
            payload, image = search.payloads[document_id], None
            if self._request.view == document_pb2.DOCUMENT_VIEW_FULL:
                image = await self._collections.documents.image(search.collection, payload)
            self._documents[document_id] = document(payload, self._request.view, image)
        return self._documents[document_id]

    async def _fill(self, result: stage_pb2.StageResult, event: StageDone) -> None:
        search, clock = event.search, event.search.clock
        ranks = {c.document_id: rank for rank, c in enumerate(event.before.candidates)}
        for rank, candidate in enumerate(search.candidates[: search.k]):
            document_id = candidate.document_id
            movement = ranks.get(document_id, rank) - rank
            hit = result.hits.add(document_id=document_id, score=candidate.score, movement=movement)
            if rank in event.settled:
                hit.settled = True
            if self._request.view != document_pb2.DOCUMENT_VIEW_ID:
                hit.document.CopyFrom(await self._document(search, document_id))
        if search.context is not None:
            result.context.CopyFrom(context_message(search.context))
        timing = result.timing
        timing.stage, timing.total_us = event.stage.kind, _us(event.seconds)
        timing.encode_us, timing.index_us = _us(clock.encode_s), _us(clock.index_s)
        timing.model_us = _us(clock.model_s)
        timing.model_calls, timing.model_tokens = clock.calls, clock.tokens
        result.method, result.depth = event.method or event.stage.method, event.depth
        result.shortened, result.message = event.shortened, clock.cut_off
        result.partial = event.partial


def _word(stage: stage_pb2.Stage.ValueType) -> str:
    return stage_pb2.Stage.Name(stage).removeprefix("STAGE_").lower()


def _us(seconds: float) -> int:
    return round(1e6 * seconds)
