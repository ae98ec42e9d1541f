"""One session of the real server under a thousand searches, of which some are given up."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawings import documents
from serving import Served

from tamis.client import (
    AsyncClient,
    AsyncSession,
    CallCancelledError,
    Client,
    DeadlineExceededError,
    Stage,
    StageResult,
)

SEARCHES = 1_000
BRIEF_S = 5.0
WORDS = ("red", "green", "blue", "circle", "square", "triangle", "a red circle")
GROWTH_BYTES = 8 << 20  # of the server, from one round of a thousand to the next


def resident(served: Served) -> int:
    """The bytes of memory that the server holds."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


async def outcome(session: AsyncSession, collection: str, number: int) -> str:
    """What becomes of one search: of ten, one is cancelled and one comes too late."""
    expired = number % 10 == 7
    search = session.search(
        WORDS[number % len(WORDS)],
        collection=collection,
        k=3,
        request_id=f"search-{number}",
        # Models keep memory for the most that they ever did at once: not what is looked for here.
        stop_after=Stage.RERANK if number % 10 == 3 else Stage.RETRIEVE,
        # Every other one would have passed on the way, had it not passed before.
        timeout=(number // 10 % 2) * 1e-6 if expired else 60.0,
    )
    try:
        async with search as events:
            if number % 10 == 3:
                if number // 10 % 2:
                    await events.first(Stage.RETRIEVE)
                return "cancelled"
            await events.final()
            return "answered"
    except DeadlineExceededError:
        return "expired"


async def test_a_thousand_searches_leave_nothing_behind(served: Served, drawings: str) -> None:
    """The names of the second round are those of the first: one that is held still is refused."""
    memory = []
    before = asyncio.all_tasks()
    async with AsyncClient(served.target, max_concurrency="server", timeout=60.0) as client:
        async with client.session() as session:
            for _ in range(3):
                outcomes = await asyncio.gather(
                    *(outcome(session, drawings, number) for number in range(SEARCHES))
                )
                assert Counter(outcomes) == {"answered": 800, "cancelled": 100, "expired": 100}
                assert not session._searches
                memory.append(resident(served))
        assert await client.hits("red", collection=drawings)
    # As many as the server takes at once: had it kept a place, it would refuse one of these.
    async with AsyncClient(served.target, timeout=60.0) as client:
        most = (await client.info()).limits.max_in_flight
        async with client.session() as session:
            found = await asyncio.gather(
                *(
                    session.hits("red", collection=drawings, stop_after="retrieve")
                    for _ in range(most)
                )
            )
        assert all(found)
    if left := asyncio.all_tasks() - before:
        await asyncio.wait(left, timeout=BRIEF_S)  # gRPC's own, which end behind their calls
    assert asyncio.all_tasks() == before
    print("server after each round:", *(f"{one / 2**20:.1f} MiB" for one in memory))
    assert memory[2] - memory[1] < GROWTH_BYTES


def test_threads_share_a_session(served: Served, drawings: str) -> None:
    with (
        Client(served.target, timeout=60.0) as client,
        client.session() as session,
        ThreadPoolExecutor(8) as threads,
    ):

        def search(number: int) -> str:
            word = WORDS[number % len(WORDS)]
            with session.search(word, collection=drawings, k=3) as events:
                if number % 10 == 3:
                    events.first(Stage.RETRIEVE)
                    return "cancelled"
                return events.final().hits[0].document_id

        found = list(threads.map(search, range(60)))
        assert found.count("cancelled") == 6
        assert not session._searches


async def test_a_session_ends_with_its_block(served: Served, drawings: str) -> None:
    async with AsyncClient(served.target) as client:
        async with client.session() as session:
            events = session.search("red", collection=drawings)
            await events.first(Stage.RETRIEVE)
        with pytest.raises(CallCancelledError, match="the session is closed"):
            await events.final()
        assert await client.hits("red", collection=drawings)


async def test_many_are_asked_for_in_one_call(served: Served, drawings: str) -> None:
    own = documents()[:4]
    async with AsyncClient(served.target, timeout=60.0, channels=2) as client:
        found = await client.batch_search(["a red circle", "blue"], collection=drawings, k=1)
        assert [type(one) for one in found] == [StageResult, StageResult]
        ranked = await client.rerank("a red circle", own)
        refined = await client.refine("a red circle", own, budget=4)
    assert isinstance(found[0], StageResult)
    assert found[0].hits[0].document_id == "red-circle"
    assert sorted(hit.document_id for hit in ranked.hits) == sorted(one.id for one in own)
    assert ranked.hits[0].document_id == "red-circle"
    assert refined.context.tokens_after < refined.context.tokens_before
    assert (ranked.failures, refined.failures) == ((), ())
