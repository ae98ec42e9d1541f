import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from steps import Step

from tamis.models.errors import InputError
from tamis.models.types import Candidate
from tamis.server.errors import OverloadedError
from tamis.server.pace import Pace
from tamis.server.pipeline import Event, Pipeline, SkipStage, StageDone, StageLeftOut
from tamis.server.search import Search, SearchOptions
from tamis.v1 import stage_pb2 as pb

FOUND = [Candidate(name, 0.0) for name in "abc"]
QUERY = Search(collection="c", content=None, k=3)


@dataclass(frozen=True)
class Does(Step):
    """A stage that does what it is told."""

    do: Callable[[Search], Awaitable[Search]] = field(kw_only=True)

    async def __call__(self, search: Search) -> Search:
        return await self.do(search)


def step(kind: pb.Stage.ValueType, do: Callable[[Search], Awaitable[Search]], **more: Any) -> Does:
    return Does(kind, do=do, **more)


async def find(search: Search) -> Search:
    return replace(search, candidates=FOUND)


async def reverse(search: Search) -> Search:
    return replace(search, candidates=list(reversed(search.candidates)))


async def hang(search: Search) -> Search:
    await asyncio.Event().wait()
    raise AssertionError


def failing(error: Exception) -> Callable[[Search], Awaitable[Search]]:
    async def fail(search: Search) -> Search:
        raise error

    return fail


async def events_of(
    *steps: Does, search: Search = QUERY, deadline: float | None = None
) -> list[Event]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    await Pipeline(steps).run(search, emit, deadline=deadline)
    return events


async def test_each_stage_hands_its_ranking_to_the_next() -> None:
    found, reranked = await events_of(step(pb.STAGE_RETRIEVE, find), step(pb.STAGE_RERANK, reverse))
    assert isinstance(found, StageDone)
    assert isinstance(reranked, StageDone)
    assert [c.document_id for c in found.search.candidates] == ["a", "b", "c"]
    assert [c.document_id for c in reranked.search.candidates] == ["c", "b", "a"]


async def test_the_next_stage_waits_until_an_event_is_written() -> None:
    order: list[str] = []

    async def note(search: Search) -> Search:
        order.append("stage")
        return search

    async def emit(event: Event) -> None:
        order.append("written")

    steps = [step(pb.STAGE_RETRIEVE, note), step(pb.STAGE_RERANK, note)]
    await Pipeline(steps).run(QUERY, emit)
    assert order == ["stage", "written", "stage", "written"]


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (SkipStage(pb.SKIP_REASON_NO_INPUT, "nothing"), pb.SKIP_REASON_NO_INPUT, "nothing"),
        (OverloadedError("full"), pb.SKIP_REASON_OVERLOADED, "full"),
        (KeyError("secret"), pb.SKIP_REASON_MODEL_UNAVAILABLE, "the method failed"),
    ],
)
async def test_a_later_stage_that_cannot_is_left_out_and_the_ranking_stays(
    error: Exception, reason: pb.SkipReason.ValueType, message: str
) -> None:
    _, left_out, last = await events_of(
        step(pb.STAGE_RETRIEVE, find),
        step(pb.STAGE_RERANK, failing(error)),
        step(pb.STAGE_REFINE, reverse),
    )
    assert isinstance(left_out, StageLeftOut)
    assert (left_out.reason, left_out.message) == (reason, message)
    assert isinstance(last, StageDone)
    assert [c.document_id for c in last.search.candidates] == ["c", "b", "a"]


async def test_the_first_stage_must_succeed() -> None:
    with pytest.raises(InputError, match="no good"):
        await events_of(step(pb.STAGE_RETRIEVE, failing(InputError("no good"))))


async def test_a_stage_that_takes_longer_than_it_may_is_left_out() -> None:
    _, left_out = await events_of(
        step(pb.STAGE_RETRIEVE, find), step(pb.STAGE_RERANK, hang, limit_s=0.01)
    )
    assert isinstance(left_out, StageLeftOut)
    assert left_out.reason == pb.SKIP_REASON_BUDGET_EXCEEDED


async def test_the_deadline_bounds_every_stage() -> None:
    deadline = asyncio.get_running_loop().time() + 0.01
    _, *left_out = await events_of(
        step(pb.STAGE_RETRIEVE, find),
        step(pb.STAGE_RERANK, hang),
        step(pb.STAGE_REFINE, hang),
        deadline=deadline,
    )
    reasons = [event.reason for event in left_out if isinstance(event, StageLeftOut)]
    assert reasons == [pb.SKIP_REASON_BUDGET_EXCEEDED] * 2


async def test_a_search_ends_where_the_request_says() -> None:
    only = replace(QUERY, options=SearchOptions(stop_after=pb.STAGE_RETRIEVE))
    events = await events_of(
        step(pb.STAGE_RETRIEVE, find), step(pb.STAGE_RERANK, reverse), search=only
    )
    assert len(events) == 1


def documents_take_a_second_each() -> Pace:
    pace = Pace()
    for size in (1, 2):
        pace.took(size, size)
    return pace


async def in_seconds(left_s: float, *steps: Does, **options: Any) -> list[Event]:
    """The events of a search that has so long."""
    search = replace(QUERY, options=SearchOptions(**options))
    deadline = asyncio.get_running_loop().time() + left_s
    return await events_of(step(pb.STAGE_RETRIEVE, find), *steps, search=search, deadline=deadline)


async def test_a_stage_with_time_enough_looks_at_all() -> None:
    slow = step(pb.STAGE_RERANK, reverse, pace=documents_take_a_second_each())
    _, done = await in_seconds(60, slow)
    assert isinstance(done, StageDone)
    assert (done.depth, done.shortened) == (3, False)


async def test_a_stage_that_would_take_too_long_looks_at_fewer() -> None:
    seen: list[int | None] = []

    async def note(search: Search) -> Search:
        seen.append(search.options.rerank_depth)
        return search

    slow = step(pb.STAGE_RERANK, note, pace=documents_take_a_second_each())
    _, done = await in_seconds(2.5, slow)
    assert isinstance(done, StageDone)
    assert (done.depth, done.shortened, seen) == (2, True, [2])


async def test_a_stage_that_could_not_do_anything_is_left_out_and_the_next_one_runs() -> None:
    slow = step(pb.STAGE_RERANK, hang, pace=documents_take_a_second_each())
    _, left_out, last = await in_seconds(0.5, slow, step(pb.STAGE_REFINE, reverse))
    assert isinstance(left_out, StageLeftOut)
    assert left_out.reason == pb.SKIP_REASON_BUDGET_EXCEEDED
    assert left_out.message == "it takes about 3000 ms for 3 documents, and has 500"
    assert isinstance(last, StageDone)


async def test_stages_share_what_is_left_by_their_needs() -> None:
    paces = documents_take_a_second_each(), documents_take_a_second_each()
    stages = (pb.STAGE_RERANK, pb.STAGE_REFINE)
    steps = [step(kind, reverse, pace=pace) for kind, pace in zip(stages, paces, strict=True)]
    _, first, second = await in_seconds(4.5, *steps)
    assert isinstance(first, StageDone)
    assert isinstance(second, StageDone)
    assert (first.depth, first.shortened) == (2, True)  # of 4.5 s half is its own
    assert (second.depth, second.shortened) == (3, False)  # the first one took no time at all


async def test_what_shortened_one_stage_does_not_bind_the_next() -> None:
    seen: list[int | None] = []

    async def note(search: Search) -> Search:
        seen.append(search.options.rerank_depth)
        return search

    slow = step(pb.STAGE_RERANK, note, pace=documents_take_a_second_each())
    await in_seconds(2.5, slow, step(pb.STAGE_REFINE, note))
    assert seen == [2, None]


async def test_a_time_that_the_request_fixes_is_the_stages_own() -> None:
    slow = step(pb.STAGE_RERANK, reverse, pace=documents_take_a_second_each(), limit_s=1.5)
    _, done = await in_seconds(60, slow)
    assert isinstance(done, StageDone)
    assert (done.depth, done.shortened) == (1, True)


async def test_a_wrong_estimate_does_not_keep_a_stage_out_for_ever() -> None:
    slow = step(pb.STAGE_RERANK, reverse, pace=documents_take_a_second_each())
    tries = [(await in_seconds(0.5, slow))[-1] for _ in range(30)]
    assert isinstance(tries[0], StageLeftOut)
    assert isinstance(tries[-1], StageDone)


async def test_a_stage_that_was_stopped_is_expected_to_take_longer() -> None:
    slow = step(pb.STAGE_RERANK, hang, limit_s=0.01)
    await in_seconds(60, slow)
    assert slow.pace.seconds(3) > 0.01
