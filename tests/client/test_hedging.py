"""Sending a late search once more: what the server sees of it."""

import asyncio
import gc
from typing import Any

import grpc
import pytest
from fake_server import Play, Retrieval, endless, ranking, refusing, serving, summary, whole
from fake_sessions import Sessions

from tamis.client import AsyncClient, CallCancelledError, DeadlineExceededError, UnavailableError

BRIEF_S = 5.0  # within which the server must see what the client does; never waited out
SOON = {"hedge_after_s": 0.02, "hedge_share": 1.0}


async def silent(request: Any, context: Any) -> None:
    """Nothing until the caller goes."""
    await asyncio.Event().wait()


def answering(name: str, after: asyncio.Event | None = None) -> Play:
    """One hit of this name, when it is time."""

    async def play(request: Any, context: Any) -> None:
        if after is not None:
            await after.wait()
        await context.write(ranking(1, name))
        await context.write(summary(1))

    return play


async def cancelled(servicer: Retrieval, count: int) -> None:
    """Returns when the server has seen so many searches cancelled."""
    async with asyncio.timeout(BRIEF_S):
        while servicer.cancels < count:
            servicer.cancelled.clear()
            await servicer.cancelled.wait()


async def test_the_second_answers_for_a_first_that_is_late(connect: Any) -> None:
    servicer = Retrieval(silent, answering("second"))
    async with (
        serving(servicer) as target,
        connect(target, channels=2, **SOON) as client,
    ):
        async with client.search("red", collection="c") as events:
            found = await events.final()
            assert events.summary is not None
        await cancelled(servicer, 1)
    assert found.hits[0].document_id == "second"
    one, other = servicer.requests
    assert one == other
    assert len(servicer.peers) == 2
    assert servicer.cancels == 1


async def test_a_first_that_answers_before_the_second_wins(connect: Any) -> None:
    came = asyncio.Event()

    async def late(request: Any, context: Any) -> None:
        came.set()
        await silent(request, context)

    servicer = Retrieval(answering("first", came), late)
    async with serving(servicer) as target, connect(target, channels=2, **SOON) as client:
        hits = await client.hits("red", collection="c")
        await cancelled(servicer, 1)
    assert hits[0].document_id == "first"
    assert len(servicer.requests) == 2


async def test_a_first_in_time_is_not_sent_again(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with (
        serving(servicer) as target,
        connect(target, hedge_after_s=BRIEF_S, hedge_share=1.0) as client,
    ):
        for _ in range(5):
            assert await client.hits("red", collection="c")
    assert (len(servicer.requests), servicer.cancels) == (5, 0)


async def test_only_the_first_event_is_waited_for(connect: Any) -> None:
    """A stage that takes long after it is no reason to send the search again."""
    servicer = Retrieval(endless)
    async with (
        serving(servicer) as target,
        connect(target, hedge_after_s=1.0, hedge_share=1.0) as client,
    ):
        with pytest.raises(DeadlineExceededError):
            await client.hits("red", collection="c", timeout=1.3)
    assert len(servicer.requests) == 1


async def test_none_is_sent_again_by_default(connect: Any) -> None:
    servicer = Retrieval(silent)
    async with serving(servicer) as target, connect(target) as client:
        with pytest.raises(DeadlineExceededError):
            await client.hits("red", collection="c", timeout=0.5)
    assert len(servicer.requests) == 1


async def test_a_twentieth_of_the_searches_may_be_sent_again(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with serving(servicer) as target, connect(target, hedge_after_s=0.0) as client:
        for _ in range(59):
            await client.hits("red", collection="c")
    assert len(servicer.requests) <= 59 + 2


async def test_the_allowance_is_spent_and_earned(connect: Any) -> None:
    """Half of the searches, of which every one is late."""
    servicer = Retrieval(silent)
    async with (
        serving(servicer) as target,
        connect(target, hedge_after_s=0.0, hedge_share=0.5) as client,
    ):
        for sent in (1, 3, 4, 6):
            with pytest.raises(DeadlineExceededError):
                await client.hits("red", collection="c", timeout=0.5)
            assert len(servicer.requests) == sent


async def test_a_second_that_answers_makes_up_for_a_first_that_fails(connect: Any) -> None:
    came = asyncio.Event()

    async def failing(request: Any, context: Any) -> None:
        await came.wait()
        await context.abort(grpc.StatusCode.INTERNAL, "broken")

    failed = asyncio.Event()

    async def second(request: Any, context: Any) -> None:
        came.set()
        await failed.wait()
        await answering("second")(request, context)

    servicer = Retrieval(failing, second)
    async with serving(servicer) as target, connect(target, **SOON) as client:
        search = asyncio.ensure_future(client.hits("red", collection="c"))
        await asyncio.wait_for(came.wait(), BRIEF_S)
        # There and back behind the failure, on the same connection.
        assert await client.ready()
        failed.set()
        assert (await search)[0].document_id == "second"


async def test_when_both_fail_the_first_one_s_error_is_said(connect: Any) -> None:
    came = asyncio.Event()

    async def failing(request: Any, context: Any) -> None:
        await came.wait()
        await context.abort(
            grpc.StatusCode.UNAVAILABLE, "the first", (("grpc-retry-pushback-ms", "-1"),)
        )

    async def second(request: Any, context: Any) -> None:
        came.set()
        await context.abort(grpc.StatusCode.INTERNAL, "the second")

    servicer = Retrieval(failing, second)
    async with serving(servicer) as target, connect(target, **SOON) as client:
        with pytest.raises(UnavailableError, match="the first"):
            await client.hits("red", collection="c")
    assert len(servicer.requests) == 2


async def test_a_failure_in_time_is_said_at_once(connect: Any) -> None:
    servicer = Retrieval(refusing(grpc.StatusCode.NOT_FOUND, "no such collection"))
    async with (
        serving(servicer) as target,
        connect(target, hedge_after_s=BRIEF_S, hedge_share=1.0) as client,
    ):
        with pytest.raises(Exception, match="no such collection"):
            await client.hits("red", collection="c")
    assert len(servicer.requests) == 1


def both_silent() -> tuple[Retrieval, asyncio.Event]:
    """A server that answers neither call, and when the second has come to it."""
    came = asyncio.Event()

    async def second(request: Any, context: Any) -> None:
        came.set()
        await silent(request, context)

    return Retrieval(silent, second), came


async def test_cancel_ends_both(connect: Any) -> None:
    servicer, came = both_silent()
    async with serving(servicer) as target, connect(target, channels=2, **SOON) as client:
        events = client.search("red", collection="c")
        reading = asyncio.ensure_future(anext(events))
        await asyncio.wait_for(came.wait(), BRIEF_S)
        events.cancel()
        with pytest.raises(CallCancelledError):
            await reading
        await cancelled(servicer, 2)


async def test_leaving_the_block_ends_both(connect: Any) -> None:
    servicer, came = both_silent()
    async with serving(servicer) as target, connect(target, channels=2, **SOON) as client:
        async with client.search("red", collection="c") as events:
            reading = asyncio.ensure_future(anext(events))
            await asyncio.wait_for(came.wait(), BRIEF_S)
        with pytest.raises(CallCancelledError):
            await reading
        await cancelled(servicer, 2)


async def test_a_cancelled_task_cancels_both() -> None:
    servicer, came = both_silent()
    async with (
        serving(servicer) as target,
        AsyncClient(target, hedge_after_s=0.02, hedge_share=1.0) as client,
    ):
        searching = asyncio.create_task(client.hits("red", collection="c"))
        await asyncio.wait_for(came.wait(), BRIEF_S)
        searching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await searching
        await cancelled(servicer, 2)


async def test_the_deadline_is_that_of_the_first(connect: Any) -> None:
    servicer = Retrieval(silent)
    async with serving(servicer) as target, connect(target, **SOON) as client:
        with pytest.raises(DeadlineExceededError):
            await client.hits("red", collection="c", timeout=0.5)
        await cancelled(servicer, 2)


async def test_an_abandoned_search_is_cancelled_when_it_is_collected(connect: Any) -> None:
    servicer = Retrieval(silent, endless)
    async with serving(servicer) as target, connect(target, **SOON) as client:
        events = client.search("red", collection="c")
        await anext(events)
        del events
        gc.collect()
        await cancelled(servicer, 2)


async def test_without_a_place_no_second_is_sent(connect: Any) -> None:
    servicer = Retrieval(silent)
    async with (
        serving(servicer) as target,
        connect(target, max_concurrency=1, **SOON) as client,
    ):
        for sent in (1, 2):
            with pytest.raises(DeadlineExceededError):
                await client.hits("red", collection="c", timeout=0.5)
            assert len(servicer.requests) == sent


async def test_both_give_their_places_back(connect: Any) -> None:
    servicer = Retrieval(silent, answering("second"))
    async with (
        serving(servicer) as target,
        connect(target, max_concurrency=2, **SOON) as client,
    ):
        await client.hits("red", collection="c")
        found = await asyncio.gather(*(client.hits("red", collection="c") for _ in range(4)))
    assert all(found)


async def test_a_session_s_searches_are_sent_once(connect: Any) -> None:
    servicer = Sessions(silent)
    async with (
        serving(servicer) as target,
        connect(target, channels=2, **SOON) as client,
        client.session() as session,
    ):
        with pytest.raises(DeadlineExceededError):
            await session.hits("red", collection="c", timeout=0.5)
    assert len(servicer.requests) == 1
