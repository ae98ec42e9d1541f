"""When the events of a search are sent: in one process, so that the stages can be held."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio
from held_retrieval import HeldEncoders, retrieve
from steps import Step, no_index

from tamis.client import AsyncClient, SearchSummary, StageResult
from tamis.models.types import Candidate
from tamis.server.config import default_settings, read
from tamis.server.interceptors import CallInterceptor
from tamis.server.pipeline import Pipeline, Stage
from tamis.server.search import Search
from tamis.server.services.retrieval import RetrievalService
from tamis.v1 import document_pb2
from tamis.v1 import retrieval_service_pb2 as wire
from tamis.v1 import stage_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import (
    RetrievalServiceStub,
    add_RetrievalServiceServicer_to_server,
)

SETTINGS = read(default_settings())


@dataclass(frozen=True)
class Held(Step):
    """A stage that begins when it is told to, and remembers what became of it."""

    word: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, search: Search) -> Search:
        self.began.set()
        try:
            await self.word.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.ended.set()
        return replace(search, candidates=[Candidate("d", 1.0)])


@asynccontextmanager
async def serving(stages: Sequence[Stage]) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    service = RetrievalService({"default": Pipeline(stages)}, no_index(), SETTINGS)
    add_RetrievalServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


def three() -> tuple[Held, Held, Held]:
    return Held(pb.STAGE_RETRIEVE), Held(pb.STAGE_RERANK), Held(pb.STAGE_REFINE)


async def test_each_result_reaches_the_client_before_the_next_stage_ends() -> None:
    """The second stage waits for the client's word, which the client gives on the first event."""
    stages = three()
    stages[0].word.set()
    async with (
        serving(stages) as target,
        AsyncClient(target) as client,
        client.search("q", collection="c", view="id") as events,
    ):
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, StageResult):
                later = stages[len(seen) :]
                assert not any(stage.ended.is_set() for stage in later)
                if later:
                    later[0].word.set()
    assert [type(event) for event in seen] == [StageResult] * 3 + [SearchSummary]


async def test_the_first_retrievers_ranking_reaches_the_client_before_the_second_has_one() -> None:
    """The second one's encoder waits for the client's word, given on the first one's ranking."""
    encoders = HeldEncoders()
    async with (
        serving([retrieve(encoders)]) as target,
        AsyncClient(target) as client,
        client.search("q", collection="c", view="id", partial_results=True) as events,
    ):
        first = await anext(events)
        encoders.word.set()
        last, summary = [event async for event in events]
    assert isinstance(first, StageResult)
    assert isinstance(last, StageResult)
    assert isinstance(summary, SearchSummary)
    assert (first.partial, first.method, last.partial, last.method) == (
        True, "dense", False, "hybrid"
    )  # fmt: skip
    assert [hit.document_id for hit in first.hits] == ["a", "b"]
    assert [hit.document_id for hit in last.hits] == ["b", "a", "c"]


async def test_leaving_after_the_first_event_stops_the_later_stages() -> None:
    stages = three()
    stages[0].word.set()
    async with serving(stages) as target, AsyncClient(target) as client:
        async with client.search("q", collection="c", view="id") as events:
            async for _ in events:
                await stages[1].began.wait()
                break
        async with asyncio.timeout(10):
            await stages[1].cancelled.wait()
    assert not stages[2].began.is_set()


async def test_the_sequence_rises_and_the_summary_is_last() -> None:
    stages = three()
    for stage in stages:
        stage.word.set()
    async with serving(stages) as target, grpc.aio.insecure_channel(target) as channel:
        request = wire.SearchRequest(
            collection="c", request_id="mine", view=document_pb2.DOCUMENT_VIEW_ID
        )
        request.query.text = "q"
        stub: Any = RetrievalServiceStub(channel)
        responses = [response async for response in stub.Search(request)]
    assert [response.sequence for response in responses] == [0, 1, 2, 3]
    assert {response.request_id for response in responses} == {"mine"}
    kinds = [response.WhichOneof("event") for response in responses]
    assert kinds == ["result", "result", "result", "summary"]
