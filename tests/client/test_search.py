"""Searching: what comes, in which order, and how it ends."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from fake_server import SKIPPED, Retrieval, endless, ranking, serving, summary, whole

from tamis.client import (
    AsyncClient,
    CallCancelledError,
    Client,
    InternalError,
    Query,
    SearchSummary,
    SkipReason,
    Stage,
    StageResult,
    StageSkipped,
    UnavailableError,
)

BRIEF_S = 5.0  # within which the server must see a cancel; never waited out


async def test_events_come_typed_and_in_the_server_s_order(connect: Any) -> None:
    async with (
        serving(Retrieval(whole)) as target,
        connect(target) as client,
        client.search("red", collection="c") as events,
    ):
        found = [event async for event in events]
    assert [type(event) for event in found] == [
        StageResult,
        StageResult,
        StageSkipped,
        SearchSummary,
    ]
    assert [hit.document_id for hit in found[1].hits] == ["b", "a"]
    assert found[1].hits[0].movement == 1
    assert found[2].reason is SkipReason.BUDGET_EXCEEDED
    assert events.summary is found[3]
    assert found[3].final_stage is Stage.RERANK
    assert list(events.results) == ["retrieve", "rerank"]
    assert events.skipped["refine"].message == "5 ms left"


async def test_a_stream_needs_no_block_when_it_is_read_to_its_end(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with serving(servicer) as target, connect(target) as client:
        events = client.search("red", collection="c")
        assert len([event async for event in events]) == 4
        assert [event async for event in events] == []
    assert not servicer.cancelled.is_set()


async def test_leaving_the_block_early_cancels_at_the_server(connect: Any) -> None:
    servicer = Retrieval(endless)
    async with serving(servicer) as target, connect(target) as client:
        async with client.search("red", collection="c") as events:
            async for event in events:
                assert event.stage == "retrieve"
                break
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_leaving_the_block_by_an_error_cancels_at_the_server(connect: Any) -> None:
    servicer = Retrieval(endless)
    async with serving(servicer) as target, connect(target) as client:

        async def failing() -> None:
            async with client.search("red", collection="c") as events:
                await events.first("retrieve")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await failing()
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_an_abandoned_stream_is_cancelled_when_it_is_collected(connect: Any) -> None:
    """grpcio 1.83 to 1.85 keep the abandoned call alive themselves (grpc#43462)."""
    servicer = Retrieval(endless)
    async with serving(servicer) as target, connect(target) as client:
        events = client.search("red", collection="c")
        await anext(events)
        del events
        gc.collect()
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_cancel_ends_a_read_that_waits_in_another_task(connect: Any) -> None:
    servicer = Retrieval(endless)
    async with serving(servicer) as target, connect(target) as client:
        events = client.search("red", collection="c")
        await anext(events)
        reading = asyncio.ensure_future(events.final())
        await asyncio.sleep(0)
        events.cancel()
        with pytest.raises(CallCancelledError):
            await reading
        with pytest.raises(CallCancelledError):
            await anext(events)
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_a_cancelled_task_cancels_its_search_and_stays_cancelled() -> None:
    servicer = Retrieval(endless)
    async with serving(servicer) as target, AsyncClient(target) as client:
        reached = asyncio.Event()

        async def searching() -> None:
            async for _ in client.search("red", collection="c"):
                reached.set()

        task = asyncio.create_task(searching())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(servicer.cancelled.wait(), BRIEF_S)


async def test_nothing_is_sent_before_the_stream_is_used(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with serving(servicer) as target, connect(target) as client:
        client.search("red", collection="c")
        await client.hits("blue", collection="c")
    assert [request.query.text for request in servicer.requests] == ["blue"]


async def test_first_stops_at_its_stage_and_the_rest_can_still_be_read(connect: Any) -> None:
    async with (
        serving(Retrieval(whole)) as target,
        connect(target) as client,
        client.search("red", collection="c") as events,
    ):
        first = await events.first(Stage.RERANK)
        assert first is not None
        assert first.stage == "rerank"
        assert await events.first("retrieve") is events.results[Stage.RETRIEVE]
        assert (await events.final()) is first
        assert await events.first("refine") is None


async def partial(request: Any, context: Any) -> None:
    """The second stage shows an order on its way."""
    on_the_way, last = ranking(2, "a", "b"), ranking(2, "b", "a")
    on_the_way.result.partial = on_the_way.result.hits[1].settled = True
    last.result.shortened, last.result.message = True, "its time was up"
    last.result.timing.model_calls, last.result.timing.model_tokens = 3, 40
    for event in (ranking(1, "a", "b"), on_the_way, last, summary()):
        await context.write(event)


async def test_partial_results_are_events_and_never_a_stage_s_result(connect: Any) -> None:
    servicer = Retrieval(partial)
    async with (
        serving(servicer) as target,
        connect(target) as client,
        client.search("red", collection="c", partial_results=True, max_calls=3) as events,
    ):
        first = await events.first("rerank")
        rest = [event async for event in events]
    assert first is not None
    assert [hit.document_id for hit in first.hits] == ["b", "a"]
    assert (first.partial, first.shortened, first.message) == (False, True, "its time was up")
    assert (first.timing.model_calls, first.timing.model_tokens) == (3, 40)
    assert len(rest) == 1, "the partial result was read on the way"
    options = servicer.requests[0].options
    assert (options.partial_results, options.max_calls) == (True, 3)
    async with serving(Retrieval(partial)) as target, connect(target) as client:
        found = [event async for event in client.search("red", collection="c")]
    assert [getattr(event, "partial", None) for event in found] == [False, True, False, None]
    assert [hit.settled for hit in found[1].hits] == [False, True]


async def test_first_refuses_a_stage_that_there_is_not(connect: Any) -> None:
    async with serving(Retrieval(whole)) as target, connect(target) as client:
        with pytest.raises(ValueError, match="'retrieval'"):
            await client.search("red", collection="c").first("retrieval")


async def test_hits_are_those_of_the_last_stage(connect: Any) -> None:
    async with serving(Retrieval(whole)) as target, connect(target) as client:
        hits = await client.hits("red", collection="c")
    assert [hit.document_id for hit in hits] == ["b", "a"]


async def test_a_search_without_any_result_says_what_was_skipped(connect: Any) -> None:
    async def nothing(request: Any, context: Any) -> None:
        await context.write(SKIPPED)
        await context.write(summary(0))

    async with serving(Retrieval(nothing)) as target, connect(target) as client:
        with pytest.raises(UnavailableError, match="refine: budget_exceeded 5 ms left"):
            await client.hits("red", collection="c")


async def test_a_search_that_ends_without_a_summary_is_the_server_s_fault(connect: Any) -> None:
    async def rude(request: Any, context: Any) -> None:
        await context.write(ranking(1, "a"))

    async with serving(Retrieval(rude)) as target, connect(target) as client:
        with pytest.raises(InternalError, match="without a summary"):
            await client.hits("red", collection="c")


async def test_the_request_carries_what_the_caller_said(connect: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    servicer = Retrieval(whole)
    async with (
        serving(servicer) as target,
        connect(target, metadata=[("authorization", "Bearer t")]) as client,
    ):
        await client.hits(
            "red",
            image=picture,
            instruction="Find it",
            task="mbeir/cirr_task7",
            collection="c",
            k=3,
            pipeline="fast",
            filter={"author": "Bo"},
            view="full",
            request_id="r1",
            traceparent="00-1-2-01",
            stop_after="rerank",
            rerank_depth=0,
            rerank_time_s=1.5,
            cache_policy="bypass",
            context_delivery="both",
            priority="bulk",
        )
    (request,), (metadata,) = servicer.requests, servicer.metadata
    assert request.query.text == "red"
    assert request.query.image.data == b"png"
    assert (request.query.instruction, request.query.task) == ("Find it", "mbeir/cirr_task7")
    assert (request.k, request.pipeline, request.request_id) == (3, "fast", "r1")
    assert request.filter.must[0].equals_text == "Bo"
    assert request.view == 3
    assert request.options.stop_after == 2
    assert request.options.HasField("rerank_depth")
    assert not request.options.HasField("refine_depth")
    assert request.options.rerank_time.ToMilliseconds() == 1500
    assert (request.options.cache_policy, request.options.priority) == (2, 2)
    assert request.options.context_delivery == 3
    assert metadata["x-request-id"] == "r1"
    assert metadata["traceparent"] == "00-1-2-01"
    assert metadata["authorization"] == "Bearer t"


async def test_a_picture_that_is_not_there_is_said_before_anything_is_sent(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with serving(servicer) as target, connect(target) as client:
        with pytest.raises(FileNotFoundError):
            await client.hits(Path("/no/such.png"), collection="c")
    assert servicer.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a text, an image or frames"),
        ({"query": "a", "text": "b"}, "given twice"),
        ({"query": Query("a", task="x"), "task": "y"}, "given twice"),
        ({"query": Query(instruction="x")}, "needs a text"),
        ({"query": 3}, "not int"),
        ({"query": "a", "view": "everything"}, "View is one of id, payload, full"),
        ({"query": "a", "stop_after": "unknown"}, "Stage is one of"),
        ({"query": "a", "filter": {"year": 1.5}}, "range"),
    ],
)
async def test_a_mistake_shows_where_it_is_made(
    connect: Any, arguments: dict[str, Any], message: str
) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match=message):
            client.search(collection="c", **arguments)


async def test_an_unknown_option_is_refused(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="top_n"):
            client.search("red", collection="c", top_n=3)


async def test_many_threads_may_share_one_client() -> None:
    async def echo(request: Any, context: Any) -> None:
        await context.write(ranking(1, request.query.text))
        await context.write(summary(1))

    async with serving(Retrieval(echo)) as target:
        with Client(target) as client:

            def searching(name: str) -> list[str]:
                return [client.hits(f"{name}-{i}", collection="c")[0].document_id for i in range(5)]

            found = await asyncio.gather(
                *(asyncio.to_thread(searching, str(thread)) for thread in range(6))
            )
    assert found == [[f"{thread}-{i}" for i in range(5)] for thread in range(6)]
