"""The index is killed while documents are searched, written and deleted."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from mixed_load import LONGEST_S, Load, kill_engine
from serving import Served, serving

from tamis.client import AsyncClient, Document
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

WRITES_BEFORE, WRITES_AFTER = 30, 30  # documents, before the kill and after it
# For so long after a kill our client hides it: five attempts, each refused after some 1.5 s, with a
# second between two. A busy machine may take longer to start an engine.
HIDDEN_S = 10.0
KEPT = [Document(id=f"kept-{n}", text=f"A red bicycle, number {n}.") for n in range(20)]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    with serving(tmp_path / "data") as running:
        async with AsyncClient(running.target) as client:
            await client.upsert("load", KEPT).final()
        yield running


async def test_an_index_that_is_killed_under_load_loses_nothing(served: Served) -> None:
    async with AsyncClient(served.target) as client:
        load = Load(client)
        running = asyncio.create_task(load.run())
        await load.until(running, lambda: len(load.written) >= WRITES_BEFORE and load.deleted)
        kill_engine(served)
        killed, written = time.monotonic(), len(load.written)
        await load.until(running, lambda: load.answered and load.answered[-1][0] > killed)
        resumed = time.monotonic()
        await load.until(running, lambda: len(load.written) >= written + WRITES_AFTER)
        load.over.set()
        await running
        if resumed - killed < HIDDEN_S:
            assert not load.refused
        there = {*load.written, *(document.id for document in KEPT)}
        asked = [*there, *load.deleted]
        assert {one.id for one in await client.get("load", asked)} == there
        assert (await client.collection("load")).documents == len(there)


async def test_a_session_stays_open_while_the_index_is_away(served: Served) -> None:
    """Its searches are sent again until there is an index."""
    async with AsyncClient(served.target, timeout=LONGEST_S) as client, client.session() as session:
        kill_engine(served)
        killed = time.monotonic()
        found = await asyncio.gather(
            *(session.hits("a red bicycle", collection="load", k=3) for _ in range(8)),
            return_exceptions=True,
        )
        if time.monotonic() - killed < HIDDEN_S:
            assert [isinstance(one, list) and len(one) for one in found] == [3] * 8
        assert len(await session.hits("a red bicycle", collection="load", k=3)) == 3


async def refusal(served: Served, stub: Any) -> grpc.aio.AioRpcError:
    """What a search ends with whose index is away for too long."""
    request = pb.SearchRequest(collection="load", k=3)
    request.query.text = "a red bicycle"
    while True:
        kill_engine(served)  # again and again, so that none comes back too soon
        try:
            async for _ in stub.Search(request):
                pass
        except grpc.aio.AioRpcError as error:
            return error


async def test_a_caller_without_our_client_is_told_when_to_ask_again(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.target) as channel, asyncio.timeout(LONGEST_S):
        error = await refusal(served, RetrievalServiceStub(channel))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    packed = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    retry = error_details_pb2.RetryInfo()
    assert any(one.Unpack(retry) for one in status_pb2.Status.FromString(packed).details)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 5_000
