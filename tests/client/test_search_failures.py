"""How a search fails: deadlines, errors, retries."""

import asyncio
from typing import Any

import grpc
import pytest
from fake_server import Retrieval, endless, ranking, refusing, serving, whole

from tamis.client import (
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from tamis.v1 import failure_pb2

BRIEF_S = 5.0  # within which the server must see a cancel; never waited out


async def test_the_deadline_is_the_search_s_own(connect: Any) -> None:
    servicer = Retrieval(endless)
    async with serving(servicer) as target, connect(target, timeout=60.0) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await client.hits("red", collection="c", timeout=0.2)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_the_client_s_timeout_holds_where_the_search_has_none(connect: Any) -> None:
    async with serving(Retrieval(endless)) as target, connect(target, timeout=0.2) as client:
        with pytest.raises(DeadlineExceededError):
            await client.hits("red", collection="c")


async def test_a_failure_in_the_trailer_becomes_its_error(connect: Any) -> None:
    failure = failure_pb2.Failure(
        reason=failure_pb2.REASON_OVERLOADED, message="256 in flight", retry_after_ms=50
    )
    play = refusing(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "other words",
        [("tamis-failure-bin", failure.SerializeToString())],
    )
    async with serving(Retrieval(play)) as target, connect(target) as client:
        with pytest.raises(OverloadedError, match="256 in flight") as caught:
            await client.hits("red", collection="c", request_id="mine")
    assert caught.value.retry_after == 0.05
    assert caught.value.request_id == "mine"


async def test_an_error_after_the_first_event_is_raised_where_it_happens(connect: Any) -> None:
    async def breaking(request: Any, context: Any) -> None:
        await context.write(ranking(1, "a"))
        await context.abort(grpc.StatusCode.INTERNAL, "broken")

    servicer = Retrieval(breaking)
    async with serving(servicer) as target, connect(target) as client:
        events = client.search("red", collection="c")
        assert (await anext(events)).stage == "retrieve"
        with pytest.raises(InternalError, match="broken"):
            await anext(events)
    assert len(servicer.requests) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_server_that_is_away_for_a_moment_is_asked_again(
    connect: Any, code: grpc.StatusCode
) -> None:
    """CANCELLED is what a server that drains says to the calls that come a moment too late."""
    away = refusing(code, "draining")
    servicer = Retrieval(away, away, whole)
    async with serving(servicer) as target, connect(target) as client:
        assert await client.hits("red", collection="c")
    assert len(servicer.requests) == 3
    assert len({request.request_id for request in servicer.requests}) == 1


async def test_all_calls_of_a_connection_that_breaks_are_asked_again(connect: Any) -> None:
    """A worker that dies fails many calls at once, which must not look like an overload."""
    away, seen = refusing(grpc.StatusCode.UNAVAILABLE, "gone"), set[str]()

    async def once_away(request: Any, context: Any) -> None:
        again = request.request_id in seen
        seen.add(request.request_id)
        await (whole if again else away)(request, context)

    servicer = Retrieval(once_away)
    async with serving(servicer) as target, connect(target) as client:
        answers = await asyncio.gather(*(client.hits("red", collection="c") for _ in range(40)))
    assert all(answers)
    assert len(servicer.requests) == 80


async def test_retries_end_and_the_error_is_said(connect: Any) -> None:
    servicer = Retrieval(refusing(grpc.StatusCode.UNAVAILABLE, "draining"))
    async with serving(servicer) as target, connect(target) as client:
        with pytest.raises(UnavailableError, match="draining"):
            await client.hits("red", collection="c")
    assert len(servicer.requests) == 5


async def test_a_request_that_is_wrong_is_not_sent_again(connect: Any) -> None:
    servicer = Retrieval(refusing(grpc.StatusCode.INVALID_ARGUMENT, "k must be from 1 to 1000"))
    async with serving(servicer) as target, connect(target) as client:
        with pytest.raises(InvalidRequestError, match="k must be"):
            await client.hits("red", collection="c", k=0)
    assert len(servicer.requests) == 1
