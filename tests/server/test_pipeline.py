import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from tamis.models.errors import InputError
from tamis.models.types import Candidate
from tamis.server.errors import OverloadedError
from tamis.server.pipeline import Event, Pipeline, SkipStage, StageDone, StageLeftOut
from tamis.server.search import Search, SearchOptions
from tamis.v1 import stage_pb2 as pb

FOUND = [Candidate(name, 0.0) for name in "abc"]
QUERY = Search(collection="c", content=None, k=3)


@dataclass(frozen=True)
class Step:
    """A stage that does what it is told."""

    kind: pb.Stage.ValueType
    do: Callable[[Search], Awaitable[Search]]
    method: str = "step"
    limit_s: float | None = None

    def time_s(self, search: Search) -> float | None:
        return self.limit_s

    async def __call__(self, search: Search) -> Search:
        return await self.do(search)


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
    *steps: Step, search: Search = QUERY, deadline: float | None = None
) -> list[Event]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    await Pipeline(steps).run(search, emit, deadline=deadline)
    return events


async def test_each_stage_hands_its_ranking_to_the_next() -> None:
    found, reranked = await events_of(Step(pb.STAGE_RETRIEVE, find), Step(pb.STAGE_RERANK, reverse))
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

    steps = [Step(pb.STAGE_RETRIEVE, note), Step(pb.STAGE_RERANK, note)]
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
        Step(pb.STAGE_RETRIEVE, find),
        Step(pb.STAGE_RERANK, failing(error)),
        Step(pb.STAGE_REFINE, reverse),
    )
    assert isinstance(left_out, StageLeftOut)
    assert (left_out.reason, left_out.message) == (reason, message)
    assert isinstance(last, StageDone)
    assert [c.document_id for c in last.search.candidates] == ["c", "b", "a"]


async def test_the_first_stage_must_succeed() -> None:
    with pytest.raises(InputError, match="no good"):
        await events_of(Step(pb.STAGE_RETRIEVE, failing(InputError("no good"))))


async def test_a_stage_that_takes_longer_than_it_may_is_left_out() -> None:
    _, left_out = await events_of(
        Step(pb.STAGE_RETRIEVE, find), Step(pb.STAGE_RERANK, hang, limit_s=0.01)
    )
    assert isinstance(left_out, StageLeftOut)
    assert left_out.reason == pb.SKIP_REASON_BUDGET_EXCEEDED


async def test_the_deadline_bounds_every_stage() -> None:
    deadline = asyncio.get_running_loop().time() + 0.01
    _, *left_out = await events_of(
        Step(pb.STAGE_RETRIEVE, find),
        Step(pb.STAGE_RERANK, hang),
        Step(pb.STAGE_REFINE, hang),
        deadline=deadline,
    )
    reasons = [event.reason for event in left_out if isinstance(event, StageLeftOut)]
    assert reasons == [pb.SKIP_REASON_BUDGET_EXCEEDED] * 2


async def test_a_search_ends_where_the_request_says() -> None:
    only = replace(QUERY, options=SearchOptions(stop_after=pb.STAGE_RETRIEVE))
    events = await events_of(
        Step(pb.STAGE_RETRIEVE, find), Step(pb.STAGE_RERANK, reverse), search=only
    )
    assert len(events) == 1
