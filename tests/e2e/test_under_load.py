"""The index is killed while documents are searched, written and deleted."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from serving import Served, serving

from tamis.client import AsyncClient, Document, UnavailableError
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

PERIOD_S = 0.05  # between two searches
WRITES_BEFORE, WRITES_AFTER = 30, 30  # of a writer, before the kill and after it
LONGEST_S = 60.0  # of anything on a busy machine
# For so long after a kill our client hides it: five attempts, each refused after some 1.5 s, with a
# second between two. A busy machine may take longer to start an engine.
HIDDEN_S = 10.0
KEPT = [Document(id=f"kept-{n}", text=f"A red bicycle, number {n}.") for n in range(20)]


def kill_engine(served: Served) -> None:
    for pid in served.children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Load:
    """Searches at a fixed pace, upserts and deletes one after another.

    Any error but a search's UnavailableError, which is kept, ends it.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.written: set[str] = set()  # acknowledged
        self.deleted: set[str] = set()
        self.answered: list[float] = []  # when a search began that has been answered
        self.refused: list[UnavailableError] = []
        self.over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._upsert())
            tasks.create_task(self._delete())
            while not self.over.is_set():
                tasks.create_task(self._search())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), PERIOD_S)

    async def _search(self) -> None:
        began = time.monotonic()
        try:
            assert await self._client.hits("a red bicycle", collection="load", timeout=LONGEST_S)
        except UnavailableError as error:
            self.refused.append(error)
        else:
            self.answered.append(began)

    async def _upsert(self) -> None:
        number = 0
        while not self.over.is_set():
            names = [f"new-{number}", f"new-{number + 1}"]
            documents = [Document(id=name, text=f"A {name} car.") for name in names]
            progress = await self._client.upsert("load", documents).final()
            assert progress.upserted == 2
            self.written.update(names)
            number += 2

    async def _delete(self) -> None:
        while not self.over.is_set():
            for name in [name for name in self.written if name.endswith("0")]:
                self.written.discard(name)
                await self._client.delete("load", [name])
                self.deleted.add(name)
            await asyncio.sleep(PERIOD_S)


async def until(done: "asyncio.Task[None]", reached: Callable[[], object]) -> None:
    """Waits until `reached()`, unless the load has failed."""
    async with asyncio.timeout(LONGEST_S):
        while not reached():
            if done.done():
                done.result()
            await asyncio.sleep(PERIOD_S)


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
        await until(running, lambda: len(load.written) >= WRITES_BEFORE and load.deleted)
        kill_engine(served)
        killed, written = time.monotonic(), len(load.written)
        await until(running, lambda: load.answered and load.answered[-1] > killed)
        resumed = time.monotonic()
        await until(running, lambda: len(load.written) >= written + WRITES_AFTER)
        load.over.set()
        await running
        if resumed - killed < HIDDEN_S:
            assert not load.refused
        there = {*load.written, *(document.id for document in KEPT)}
        asked = [*there, *load.deleted]
        assert {one.id for one in await client.get("load", asked)} == there
        assert (await client.collection("load")).documents == len(there)


async def test_a_caller_without_our_client_is_told_when_to_ask_again(served: Served) -> None:
    request = pb.SearchRequest(collection="load", k=3)
    request.query.text = "a red bicycle"
    async with grpc.aio.insecure_channel(served.target) as channel, asyncio.timeout(LONGEST_S):
        stub = RetrievalServiceStub(channel)
        while True:
            kill_engine(served)  # again and again, so that none comes back too soon
            try:
                async for _ in stub.Search(request):
                    pass
            except grpc.aio.AioRpcError as error:
                refusal = error
                break
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE
    packed = dict(refusal.trailing_metadata() or ())["grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    details = status_pb2.Status.FromString(packed).details
    assert any(one.Unpack(retry) for one in details)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 5_000
    async with AsyncClient(served.target) as client:
        assert await client.hits("a red bicycle", collection="load", timeout=LONGEST_S)
