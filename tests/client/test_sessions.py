"""Many searches on one stream: each ends by itself, and the stream ends them all."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from fake_server import endless, ranking, serving, summary, whole
from fake_sessions import RefusedError, Sessions

from tamis.client import (
    AsyncClient,
    CallCancelledError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    Stage,
    UnavailableError,
)
from tamis.v1 import failure_pb2

BRIEF_S = 5.0  # within which the server must see a cancel; never waited out


async def by_text(request: Any, context: Any) -> None:
    """What a search's text says is what becomes of it."""
    match request.query.text:
        case "endless":
            await endless(request, context)
        case "overloaded":
            raise RefusedError(failure_pb2.REASON_OVERLOADED, "256 in flight")
        case "break":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        case text:
            await context.write(ranking(1, text))
            await context.write(summary(1))


async def brief(waiting: Any) -> Any:
    return await asyncio.wait_for(waiting, BRIEF_S)


async def test_many_searches_run_at_once_and_their_events_are_paired(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.session() as session,
    ):
        names = [f"n{place}" for place in range(40)]
        found = await asyncio.gather(*(session.hits(name, collection="c") for name in names))
        assert servicer.open == 1
    assert [hits[0].document_id for hits in found] == names
    assert len(servicer.peers) == 1


async def test_a_search_of_a_session_reads_as_any_other(connect: Any) -> None:
    async with (
        serving(Sessions(whole)) as target,
        connect(target) as client,
        client.session() as session,
        session.search("red", collection="c", request_id="mine", k=3) as events,
    ):
        first = await events.first("rerank")
        assert (await events.final()) is first
        assert events.summary.final_stage is Stage.RERANK
        assert list(events.skipped) == ["refine"]
        assert events.request_id == "mine"
        assert [event async for event in events] == []


async def test_leaving_a_search_s_block_stops_that_search_alone(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.session() as session,
    ):
        async with session.search("endless", collection="c", request_id="left") as events:
            await events.first("retrieve")
        assert await brief(servicer.stopped.get()) == "left"
        assert await session.hits("red", collection="c")
        assert servicer.stopped.empty()
        with pytest.raises(CallCancelledError):
            await anext(events)


async def test_a_search_that_is_over_is_not_cancelled_at_the_server(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with serving(servicer) as target, connect(target) as client:
        async with client.session() as session:
            async with session.search("red", collection="c") as events:
                await events.final()
            events.cancel()
            await session.hits("blue", collection="c")
        await brief(servicer.over.wait())
    assert servicer.stopped.empty()


async def test_cancel_ends_a_read_that_waits_in_another_task(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.session() as session,
    ):
        events = session.search("endless", collection="c")
        await anext(events)
        reading = asyncio.ensure_future(events.final())
        await asyncio.sleep(0)
        events.cancel()
        with pytest.raises(CallCancelledError):
            await reading
        assert await brief(servicer.stopped.get()) == events.request_id


async def test_an_abandoned_search_is_stopped_when_it_is_collected(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.session() as session,
    ):
        events = session.search("endless", collection="c", request_id="dropped")
        await anext(events)
        del events
        gc.collect()
        assert await brief(servicer.stopped.get()) == "dropped"


async def test_a_failure_ends_its_search_alone(connect: Any) -> None:
    async with (
        serving(Sessions(by_text)) as target,
        connect(target) as client,
        client.session() as session,
    ):
        with pytest.raises(OverloadedError, match="256 in flight") as caught:
            await session.hits("overloaded", collection="c", request_id="mine")
        assert (caught.value.retry_after, caught.value.request_id) == (0.05, "mine")
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await session.hits("red", collection="c")


class Away:
    """Says that the index is away, to each search so often."""

    def __init__(self, times: int, retry_after_ms: int = 50, *, begun: bool = False) -> None:
        self._times = times
        self._retry_after_ms = retry_after_ms
        self._begun = begun  # whether it has answered something before it says so
        self.told = asyncio.Event()

    async def __call__(self, request: Any, context: Any) -> None:
        if request.query.text == "away" and self._times:
            self._times -= 1
            if self._begun:
                await context.write(ranking(1, "a"))
            self.told.set()
            reason = failure_pb2.REASON_UNAVAILABLE
            raise RefusedError(reason, "the index is away", self._retry_after_ms)
        await context.write(ranking(1, request.query.text))
        await context.write(summary(1))


async def test_a_search_is_sent_again_while_the_index_is_away(connect: Any) -> None:
    servicer = Sessions(Away(4))
    async with (
        serving(servicer) as target,
        connect(target, timeout=60.0) as client,
        client.session() as session,
    ):
        hits = await session.hits("away", collection="c", request_id="mine")
        assert [hit.document_id for hit in hits] == ["away"]
        assert [one.request_id for one in servicer.requests] == ["mine"] * 5
        assert servicer.open == 1
        assert 0 < (servicer.timeouts["mine"] or 0) <= 60_000 - 4 * 50


@pytest.mark.parametrize(
    ("away", "timeout", "sent"),
    [({}, 60.0, 5), ({"retry_after_ms": 60_000}, 30.0, 1), ({"begun": True}, 60.0, 1)],
    ids=["too often", "for too long", "in the middle"],
)
async def test_a_search_is_not_sent_again_where_that_is_of_no_use(
    connect: Any, away: dict[str, Any], timeout: float, sent: int
) -> None:
    servicer = Sessions(Away(9, **away))
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.session() as session,
    ):
        with pytest.raises(UnavailableError, match="the index is away"):
            await session.hits("away", collection="c", request_id="mine", timeout=timeout)
        assert len(servicer.requests) == sent
        assert await session.hits("red", collection="c", request_id="mine")
        assert not session._searches


async def test_a_search_that_waits_to_be_sent_again_can_be_cancelled(connect: Any) -> None:
    away = Away(9, 60_000)
    servicer = Sessions(away)
    async with (
        serving(servicer) as target,
        connect(target, timeout=600.0) as client,
        client.session() as session,
    ):
        events = session.search("away", collection="c")
        reading = asyncio.ensure_future(events.final())
        await brief(away.told.wait())
        assert await session.hits("red", collection="c")
        events.cancel()
        with pytest.raises(CallCancelledError):
            await reading
        assert await session.hits("red", collection="c", request_id=events.request_id)
        assert [one.query.text for one in servicer.requests] == ["away", "red", "red"]


async def test_a_session_that_ends_ends_a_search_that_waits_to_be_sent_again(connect: Any) -> None:
    away = Away(9, 60_000)
    async with serving(Sessions(away)) as target, connect(target, timeout=600.0) as client:
        async with client.session() as session:
            events = session.search("away", collection="c")
            reading = asyncio.ensure_future(events.final())
            await brief(away.told.wait())
            assert await session.hits("red", collection="c")
        with pytest.raises(CallCancelledError, match="the session is closed"):
            await brief(reading)


async def test_each_search_has_its_own_timeout(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target, timeout=60.0) as client,
        client.session() as session,
    ):
        with pytest.raises(DeadlineExceededError) as caught:
            await session.hits("endless", collection="c", timeout=0.2, request_id="brief")
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await brief(servicer.stopped.get()) == "brief"
        await session.hits("red", collection="c", request_id="usual")
        await session.hits("red", collection="c", request_id="free", timeout=float("inf"))
    assert 0 < (servicer.timeouts["brief"] or 0) <= 200
    assert 50_000 < (servicer.timeouts["usual"] or 0) <= 60_000
    assert servicer.timeouts["free"] is None


async def test_a_stream_that_breaks_fails_all_its_searches(connect: Any) -> None:
    async with (
        serving(Sessions(by_text)) as target,
        connect(target) as client,
        client.session() as session,
    ):
        waiting = session.search("endless", collection="c", request_id="waiting")
        await anext(waiting)
        with pytest.raises(UnavailableError, match="draining"):
            await session.hits("break", collection="c")
        with pytest.raises(UnavailableError, match="draining") as caught:
            await anext(waiting)
        assert caught.value.request_id == "waiting"
        with pytest.raises(UnavailableError, match="draining"):
            await session.hits("red", collection="c")


async def test_a_stream_that_the_server_ends_in_peace_fails_its_searches(connect: Any) -> None:
    async with (
        serving(Sessions(by_text, messages=1)) as target,
        connect(target) as client,
        client.session() as session,
    ):
        assert await session.hits("red", collection="c")
        with pytest.raises(UnavailableError, match="the server ended the session"):
            await session.hits("red", collection="c")


async def test_a_server_that_is_not_there_fails_the_searches(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client, client.session() as session:
        with pytest.raises(UnavailableError):
            await session.hits("red", collection="c")


async def test_leaving_the_session_s_block_ends_the_call(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with serving(servicer) as target, connect(target) as client:
        async with client.session() as session:
            events = session.search("endless", collection="c")
            await anext(events)
        with pytest.raises(CallCancelledError, match="the session is closed"):
            await anext(events)
        with pytest.raises(CallCancelledError, match="the session is closed"):
            await session.hits("red", collection="c")
        await brief(servicer.over.wait())


async def test_closing_the_client_ends_its_sessions(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with serving(servicer) as target, connect(target) as client:
        async with client.session() as session:
            events = session.search("endless", collection="c")
            await anext(events)
            await client.close()
            with pytest.raises(CallCancelledError):
                await anext(events)
        await brief(servicer.over.wait())


async def test_a_search_that_nobody_reads_holds_up_no_other(connect: Any) -> None:
    async with (
        serving(Sessions(whole)) as target,
        connect(target) as client,
        client.session() as session,
        session.search("unread", collection="c") as unread,
    ):
        for _ in range(20):
            assert await session.hits("red", collection="c")
        assert len([event async for event in unread]) == 4


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda session: session.search("a", collection="c", traceparent="0"), TypeError, "trace"),
        (lambda session: session.search("a", collection="c", top_n=3), TypeError, "top_n"),
        (lambda session: session.search(collection="c"), ValueError, "needs a text"),
    ],
    ids=["traceparent", "unknown", "empty"],
)
async def test_a_mistake_shows_where_it_is_made(
    connect: Any, mistake: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(error, match=message):
            mistake(client.session())


async def test_a_name_is_one_search_s_at_a_time(connect: Any) -> None:
    async with (
        serving(Sessions(by_text)) as target,
        connect(target) as client,
        client.session() as session,
        session.search("endless", collection="c", request_id="twin") as events,
    ):
        await anext(events)
        with pytest.raises(ValueError, match="'twin' is that of a search in flight"):
            await session.hits("red", collection="c", request_id="twin")
        events.cancel()
        assert await session.hits("red", collection="c")


async def test_a_session_works_in_its_block_only(connect: Any) -> None:
    async with serving(Sessions(by_text)) as target, connect(target) as client:
        with pytest.raises(CallCancelledError, match="use it in a `with` block"):
            await client.session().hits("red", collection="c")


async def test_a_session_carries_its_own_trace_and_the_client_s_metadata(connect: Any) -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        connect(target, metadata=[("authorization", "Bearer t")]) as client,
        client.session(traceparent="00-1-2-01", request_id="s1") as session,
    ):
        await session.hits("red", collection="c")
    (metadata,) = servicer.metadata
    assert metadata["authorization"] == "Bearer t"
    assert metadata["traceparent"] == "00-1-2-01"
    assert metadata["x-request-id"] == "s1"


async def test_a_cancelled_task_stops_its_search_and_stays_cancelled() -> None:
    servicer = Sessions(by_text)
    async with (
        serving(servicer) as target,
        AsyncClient(target) as client,
        client.session() as session,
    ):
        searching = asyncio.create_task(session.hits("endless", collection="c", request_id="gone"))
        await servicer.began.get()
        searching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await searching
        assert await brief(servicer.stopped.get()) == "gone"


async def test_an_event_of_a_search_that_is_over_is_dropped(connect: Any) -> None:
    """The server may not have heard of the cancel yet."""
    told = asyncio.Event()

    async def late(request: Any, context: Any) -> None:
        if request.query.text == "late":
            await context.write(ranking(1, "a"))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await context.write(summary(1))
                told.set()
        else:
            await whole(request, context)

    async with (
        serving(Sessions(late)) as target,
        connect(target) as client,
        client.session() as session,
    ):
        async with session.search("late", collection="c") as events:
            await anext(events)
        await brief(told.wait())
        assert await session.hits("red", collection="c")


async def test_a_word_that_the_server_refuses_is_its_own_error(connect: Any) -> None:
    async def refusing(request: Any, context: Any) -> None:
        raise RefusedError(failure_pb2.REASON_INVALID_REQUEST, "k must be from 1 to 1000, not 0")

    async with (
        serving(Sessions(refusing)) as target,
        connect(target) as client,
        client.session() as session,
    ):
        with pytest.raises(InvalidRequestError, match="k must be"):
            await session.hits("red", collection="c", k=0)
