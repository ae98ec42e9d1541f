"""Documents on their way in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from fake_server import Collections, serving

from tamis.client import (
    AsyncClient,
    Document,
    FailedPreconditionError,
    Reason,
    TamisClientError,
    UpsertProgress,
)
from tamis.client.batches import BATCH_BYTES, WINDOW

BRIEF_S = 5.0


def documents(count: int) -> list[Document]:
    return [Document(f"d{place}", f"text {place}") for place in range(count)]


async def test_progress_comes_with_each_batch(connect: Any) -> None:
    servicer = Collections()
    async with serving(servicer) as target, connect(target) as client:
        steps = [step async for step in client.upsert("c", documents(70), batch=32)]
    assert [step.upserted for step in steps] == [32, 64, 70]
    assert servicer.messages == [32, 32, 6]
    assert len(servicer.held["c"]) == 70


async def test_failures_are_reported_and_the_others_go_in(connect: Any) -> None:
    sent = [Document("bad1", "x"), *documents(3), Document("bad2", "x")]
    async with serving(Collections()) as target, connect(target) as client:
        stream = client.upsert("c", sent, batch=2)
        steps = [step async for step in stream]
    assert [[one.document_id for one in step.failures] for step in steps] == [
        ["bad1"],
        [],
        ["bad2"],
    ]
    assert steps[0].failures[0].failure.reason is Reason.INVALID_REQUEST
    assert steps[0].failures[0].failure.message == "not a picture"
    assert steps[0].failures[0].failure.retry_after is None
    assert (stream.total.upserted, stream.total.failed) == (3, 2)
    assert [one.document_id for one in stream.total.failures] == ["bad1", "bad2"]


async def test_final_sends_everything(connect: Any) -> None:
    servicer = Collections()
    async with serving(servicer) as target, connect(target) as client:
        total = await client.upsert("c", documents(10), batch=3).final()
        await asyncio.wait_for(servicer.over.wait(), BRIEF_S)
    assert total == UpsertProgress(upserted=10)


async def test_no_documents_are_no_trouble(connect: Any) -> None:
    async with serving(Collections()) as target, connect(target) as client:
        assert await client.upsert("c", []).final() == UpsertProgress()


async def test_an_async_iterable_is_taken_too() -> None:
    async def coming() -> AsyncIterator[Document]:
        for document in documents(5):
            await asyncio.sleep(0)
            yield document

    async with serving(Collections()) as target, AsyncClient(target) as client:
        assert (await client.upsert("c", coming(), batch=2).final()).upserted == 5


async def test_documents_are_taken_only_as_they_are_needed(connect: Any) -> None:
    taken = 0

    def coming() -> Iterator[Document]:
        nonlocal taken
        for document in documents(100):
            taken += 1
            yield document

    async with serving(Collections()) as target, connect(target) as client:
        async with client.upsert("c", coming(), batch=5) as steps:
            assert taken == 0
            await anext(steps)
        # A batch is known to be full when the document after it comes.
        assert taken <= 5 * WINDOW + 1


async def test_leaving_the_block_early_ends_the_call_at_the_server(connect: Any) -> None:
    servicer = Collections()
    async with serving(servicer) as target, connect(target) as client:
        async with client.upsert("c", documents(100), batch=5) as steps:
            assert (await anext(steps)).upserted == 5
        await asyncio.wait_for(servicer.over.wait(), BRIEF_S)


async def test_an_error_of_the_documents_own_reaches_the_caller(connect: Any) -> None:
    def coming() -> Iterator[Document]:
        yield from documents(5)
        raise ZeroDivisionError

    servicer = Collections()
    async with serving(servicer) as target, connect(target) as client:
        with pytest.raises(ZeroDivisionError):
            await client.upsert("c", coming(), batch=2).final()
        await asyncio.wait_for(servicer.over.wait(), BRIEF_S)


@pytest.mark.parametrize("attempt", range(3))
async def test_a_server_that_refuses_is_understood(connect: Any, attempt: int) -> None:
    """grpc.aio loses the status of a call that ends during a write: there must be none then."""
    async with serving(Collections()) as target, connect(target) as client:
        with pytest.raises(FailedPreconditionError, match="closed for writing") as caught:
            await client.upsert("closed", documents(500), batch=5).final()
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_large_documents_share_no_large_message(connect: Any) -> None:
    image = bytes(3 << 20)
    sent = [Document(f"d{place}", image=image) for place in range(5)]
    servicer = Collections()
    async with serving(servicer) as target, connect(target) as client:
        assert (await client.upsert("c", sent).final()).upserted == 5
    assert 2 * len(image) < BATCH_BYTES < 3 * len(image)
    assert servicer.messages == [2, 2, 1]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document("d"), "needs a text, an image or frames"),
        (Document("d", image=bytes(33 << 20)), "d: .* bytes are more than one message can carry"),
        (Document("d", "x", metadata={"tags": {"a"}}), "d: metadata.tags: JSON has no set"),
    ],
)
async def test_a_document_that_cannot_be_sent_is_named(
    connect: Any, document: Document, message: str
) -> None:
    async with serving(Collections()) as target, connect(target) as client:
        with pytest.raises(ValueError, match=message):
            await client.upsert("c", [document]).final()


async def test_a_batch_holds_a_document_at_least(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="batch must be at least 1, not 0"):
            client.upsert("c", [], batch=0)


async def test_a_closed_client_says_so(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client:
        pass
    with pytest.raises(TamisClientError, match="the client is closed"):
        await client.upsert("c", documents(1)).final()
