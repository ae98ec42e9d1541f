"""Rerankers that are stopped on their way: by a deadline, by a bound on calls, by a caller."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from gated import Gated, gated
from oracle import inversions
from steps import Step, no_index

from tamis.models.rerankers import Ranking
from tamis.models.rerankers.identity import Identity
from tamis.models.types import Candidate, Content, Query
from tamis.server.config import PipelineSettings, RetrieveSettings, ServerSettings
from tamis.server.errors import DeadlineError
from tamis.server.pipeline import Pipeline, Stage
from tamis.server.reranking import best_ranking, clock_until
from tamis.server.search import Clock, Search
from tamis.server.services.retrieval import RetrievalService
from tamis.server.stages import Rerank
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1 import stage_pb2

ENOUGH = 1_000
QUERY = Query(Content(text="q"))
CANDIDATES = [Candidate(name, 1 - i / 10) for i, name in enumerate("adbfceg")]
WORST_FIRST = [Candidate(name, 1 - i / 20) for i, name in enumerate("abcdefghijkl")]


def ids(candidates: Sequence[Candidate]) -> str:
    return "".join(candidate.document_id for candidate in candidates)


def wrong_pairs(order: str) -> int:
    return inversions([*map(ord, order)], range(200))


async def let_go(reranker: Gated) -> None:
    """Opens the gate for the thread that was left behind, and waits for its end."""
    reranker.permits.release(ENOUGH)
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


async def test_without_bounds_the_method_ends() -> None:
    reranker, clock = gated(ENOUGH), Clock()
    ranked = await best_ranking(reranker, QUERY, CANDIDATES, clock)
    assert ids(ranked) == "gfedcba"
    assert (clock.calls, clock.tokens, clock.cut_off) == (42, 420, "")
    assert clock.model_s > 0


async def test_at_the_deadline_the_best_order_so_far_is_the_result() -> None:
    """A third of the needed batches leaves fewer pairs in the wrong order than there were."""
    needed = 12 * 11 // 4
    reranker, clock = gated(needed // 3), clock_until(0.1)
    ranked = await best_ranking(reranker, QUERY, WORST_FIRST, clock)
    assert sorted(ids(ranked)) == sorted(ids(WORST_FIRST))
    assert wrong_pairs(ids(ranked)) < wrong_pairs(ids(WORST_FIRST))
    assert clock.calls == 4 * (needed // 3)
    assert clock.cut_off == "its 100 ms were over"
    await let_go(reranker)
    assert len(reranker.asked) == needed // 3 + 1, "no more than the batch that was under way"


async def test_without_any_order_the_deadline_is_an_error() -> None:
    reranker, clock = gated(0), clock_until(0.02)
    with pytest.raises(DeadlineError, match="its 20 ms were over before it had an order"):
        await best_ranking(reranker, QUERY, CANDIDATES, clock)
    await let_go(reranker)


async def test_the_calls_are_bounded() -> None:
    clock = Clock()
    ranked = await best_ranking(gated(ENOUGH), QUERY, WORST_FIRST, clock, max_calls=40)
    assert clock.calls == 40
    assert clock.cut_off == "its model may be called 40 times"
    assert wrong_pairs(ids(ranked)) < wrong_pairs(ids(WORST_FIRST))


async def test_a_model_that_fails_on_its_way_leaves_the_order_so_far() -> None:
    clock = Clock()
    ranked = await best_ranking(gated(ENOUGH, failing_after=12), QUERY, WORST_FIRST, clock)
    assert clock.cut_off == "its model failed"
    assert wrong_pairs(ids(ranked)) < wrong_pairs(ids(WORST_FIRST))
    with pytest.raises(RuntimeError):
        await best_ranking(gated(ENOUGH, failing_after=0), QUERY, WORST_FIRST, Clock())


async def test_a_caller_who_leaves_stops_the_model() -> None:
    reranker = gated(3)
    reported = asyncio.Event()
    work = best_ranking(reranker, QUERY, WORST_FIRST, Clock(), report=lambda _: reported.set())
    task = asyncio.create_task(work)
    await reported.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await let_go(reranker)
    assert len(reranker.asked) <= 4


async def test_orders_on_the_way_are_reported_and_the_last_is_not() -> None:
    reported: list[Ranking] = []
    clock = Clock()
    ranked = await best_ranking(gated(ENOUGH), QUERY, CANDIDATES, clock, report=reported.append)
    assert reported
    assert all(not one.done and len(one.candidates) == 7 for one in reported)
    assert ids(ranked) == "gfedcba"


class Found(Step):
    """The first stage."""

    async def __call__(self, search: Search) -> Search:
        payloads = {c.document_id: {"id": c.document_id} for c in WORST_FIRST}
        return replace(search, query=QUERY, candidates=WORST_FIRST, payloads=payloads)


async def answered(reranker: Gated | Identity, **options: object) -> list[pb.SearchResponse]:
    """What a search says whose second stage is this reranker. It touches no index."""
    nothing = no_index()
    stages: list[Stage] = [Found(stage_pb2.STAGE_RETRIEVE), Rerank("gated", reranker, nothing, 20)]
    named = PipelineSettings(retrieve=RetrieveSettings(method="found"))
    settings = ServerSettings(encoders={}, pipelines={"default": named})
    service = RetrievalService({"default": Pipeline(stages)}, nothing, settings)
    responses: list[pb.SearchResponse] = []

    async def write(response: pb.SearchResponse) -> None:
        responses.append(response)

    request = pb.SearchRequest(collection="c", k=12, options=pb.SearchOptions(**options))  # type: ignore[arg-type]
    request.query.text = "q"
    await service.answer(request, write, timeout_s=10.0)
    assert [response.sequence for response in responses] == list(range(len(responses)))
    assert responses[-1].WhichOneof("event") == "summary"
    return responses


async def test_a_search_ends_well_with_what_its_calls_allowed() -> None:
    _, reranked, _ = await answered(gated(ENOUGH), max_calls=44)
    result = reranked.result
    assert (result.shortened, result.message) == (True, "its model may be called 44 times")
    assert (result.timing.model_calls, result.timing.model_tokens) == (44, 440)
    order = "".join(hit.document_id for hit in result.hits)
    assert wrong_pairs(order) < wrong_pairs(ids(WORST_FIRST))
    assert not result.partial


async def test_a_search_ends_well_with_what_its_time_allowed() -> None:
    reranker, options = gated(11), pb.SearchOptions()
    options.rerank_time.FromMilliseconds(1_000)
    _, reranked, _ = await answered(reranker, rerank_time=options.rerank_time)
    assert reranked.result.shortened
    assert reranked.result.timing.model_calls == 44
    await let_go(reranker)


async def test_partial_results_come_before_the_last_and_only_where_they_are_wanted() -> None:
    found, *partial, last, _ = await answered(gated(ENOUGH), partial_results=True)
    assert not found.result.partial
    assert partial
    for response in partial:
        assert response.stage == stage_pb2.STAGE_RERANK
        assert response.result.partial
        assert len(response.result.hits) == 12
    calls = [response.result.timing.model_calls for response in (*partial, last)]
    assert calls == sorted(calls)
    assert not last.result.partial
    assert [hit.document_id for hit in last.result.hits] == [*"lkjihgfedcba"]
    assert last.result.hits[0].movement == 11
    assert len(await answered(gated(ENOUGH))) == 3
    assert len(await answered(Identity(), partial_results=True)) == 3
