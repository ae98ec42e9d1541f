"""How many calls a client makes at once, and over which connections: as the server sees it."""

import asyncio
from typing import Any

import pytest
from fake_server import (
    Embedding,
    Reranking,
    Retrieval,
    Server,
    endless,
    ranking,
    serving,
    summary,
    whole,
)
from fake_sessions import Sessions

from tamis.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    Document,
    UnimplementedError,
)

BRIEF_S = 5.0  # within which the server must see what the client does; never waited out


class Held:
    """A play that answers when it is told to, and counts the searches that wait for that."""

    def __init__(self) -> None:
        self.word = asyncio.Event()
        self.now = self.most = 0
        self.came: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, request: Any, context: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.came.put_nowait(request.query.text)
        try:
            await self.word.wait()
        finally:
            self.now -= 1
        await context.write(ranking(1, request.query.text))
        await context.write(summary(1))

    async def arrive(self, count: int) -> None:
        for _ in range(count):
            await asyncio.wait_for(self.came.get(), BRIEF_S)


async def held_back(held: Held, client: Any, searcher: Any, room: int) -> None:
    """Of one search too many, all but one arrive until the first is answered."""
    searches = [
        asyncio.ensure_future(searcher.hits(f"n{place}", collection="c"))
        for place in range(room + 1)
    ]
    await held.arrive(room)
    await client.info()  # has no place, and goes there and back behind whatever was sent
    assert held.came.empty()
    held.word.set()
    assert all(await asyncio.gather(*searches))
    assert held.most == room


async def test_no_more_searches_run_than_the_client_may_make(connect: Any) -> None:
    held = Held()
    async with (
        serving(Retrieval(held), Server()) as target,
        connect(target, max_concurrency=3) as client,
    ):
        await held_back(held, client, client, 3)


async def test_a_session_s_searches_count_too(connect: Any) -> None:
    held = Held()
    async with (
        serving(Sessions(held), Server()) as target,
        connect(target, max_concurrency=3) as client,
        client.session() as session,
    ):
        await held_back(held, client, session, 3)


async def test_the_server_is_asked_once_for_its_limit(connect: Any) -> None:
    """The client stays a tenth below it."""
    held, server = Held(), Server(max_in_flight=5)
    async with (
        serving(Retrieval(held), server) as target,
        connect(target, max_concurrency="server") as client,
    ):
        await held_back(held, client, client, 4)
    assert server.asked == 2  # the other one is the test's own


async def test_a_server_that_says_no_limit_sets_none(connect: Any) -> None:
    held = Held()
    async with (
        serving(Retrieval(held), Server()) as target,
        connect(target, max_concurrency="server") as client,
    ):
        searches = [asyncio.ensure_future(client.hits("a", collection="c")) for _ in range(6)]
        await held.arrive(6)
        held.word.set()
        await asyncio.gather(*searches)


async def test_a_server_that_cannot_be_asked_is_an_error(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with (
        serving(servicer) as target,
        connect(target, max_concurrency="server") as client,
    ):
        for _ in range(2):
            with pytest.raises(UnimplementedError):
                await client.hits("red", collection="c")
    assert servicer.requests == []


async def test_a_search_that_waits_in_the_client_honours_its_timeout(connect: Any) -> None:
    held = Held()
    async with (
        serving(Retrieval(held), Server()) as target,
        connect(target, max_concurrency=1) as client,
    ):
        first = asyncio.ensure_future(client.hits("first", collection="c"))
        await held.arrive(1)
        with pytest.raises(DeadlineExceededError, match="max_concurrency is 1") as caught:
            await client.hits("late", collection="c", timeout=0.1, request_id="mine")
        assert caught.value.request_id == "mine"
        held.word.set()
        assert await first
        assert await client.hits("next", collection="c")
        assert [held.came.get_nowait() for _ in range(held.came.qsize())] == ["next"]


async def test_the_time_in_the_client_is_taken_off_the_search_s(connect: Any) -> None:
    left: list[float] = []
    held = Held()

    async def timed(request: Any, context: Any) -> None:
        left.append(context.time_remaining())
        await held(request, context)

    async with (
        serving(Retrieval(timed), Server()) as target,
        connect(target, max_concurrency=1) as client,
    ):
        first = asyncio.ensure_future(client.hits("first", collection="c"))
        await held.arrive(1)
        second = asyncio.ensure_future(client.hits("second", collection="c", timeout=5.0))
        await client.info()
        await asyncio.sleep(0.2)
        held.word.set()
        await asyncio.gather(first, second)
    assert left[1] < 4.9


@pytest.mark.parametrize("end", ["answered", "left", "cancelled", "refused", "dropped"])
async def test_a_search_gives_its_place_back_however_it_ends(connect: Any, end: str) -> None:
    async def play(request: Any, context: Any) -> None:
        match request.query.text:
            case "left" | "cancelled" | "dropped":
                await endless(request, context)
            case "refused":
                raise ZeroDivisionError
            case _:
                await whole(request, context)

    async with (
        serving(Retrieval(play)) as target,
        connect(target, max_concurrency=1) as client,
    ):
        events = client.search(end, collection="c")
        if end == "refused":
            with pytest.raises(Exception, match="ZeroDivisionError"):
                await events.final()
        elif end == "left":
            async with events:
                await anext(events)
        else:
            await anext(events)
        if end == "cancelled":
            events.cancel()
        elif end == "dropped":
            del events
        elif end == "answered":
            await events.final()
        assert await client.hits("red", collection="c", timeout=BRIEF_S)


async def test_what_runs_no_model_passes_by(connect: Any) -> None:
    held = Held()
    async with (
        serving(Retrieval(held), Server(), Embedding(), Reranking()) as target,
        connect(target, max_concurrency=1) as client,
    ):
        search = asyncio.ensure_future(client.hits("red", collection="c"))
        await held.arrive(1)
        assert await client.ready()
        assert (await client.info()).version
        with pytest.raises(DeadlineExceededError, match="max_concurrency"):
            await client.embed("mini", ["red"], timeout=0.05)
        with pytest.raises(DeadlineExceededError, match="max_concurrency"):
            await client.rerank("red", [Document("a", "x")], timeout=0.05)
        held.word.set()
        await search


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    held = Held()
    async with (
        serving(Retrieval(held)) as target,
        AsyncClient(target, max_concurrency=1) as client,
    ):
        first = asyncio.create_task(client.hits("first", collection="c"))
        await held.arrive(1)
        second = asyncio.create_task(client.hits("second", collection="c"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        held.word.set()
        await first
        assert await client.hits("third", collection="c", timeout=BRIEF_S)


@pytest.mark.parametrize(
    "setting",
    [
        {"channels": 0},
        {"max_concurrency": 0},
        {"max_concurrency": "many"},
        {"hedge_after_s": -1.0},
        {"hedge_share": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_setting_that_makes_no_sense_is_refused(client: Any, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        client("127.0.0.1:1", **setting)


async def test_calls_go_over_all_connections(connect: Any) -> None:
    held = Held()
    servicer = Retrieval(held)
    async with serving(servicer) as target, connect(target, channels=3) as client:
        searches = [asyncio.ensure_future(client.hits("a", collection="c")) for _ in range(3)]
        await held.arrive(3)
        assert len(servicer.peers) == 3
        held.word.set()
        await asyncio.gather(*searches)
        for _ in range(6):
            await client.hits("b", collection="c")
    assert len(servicer.peers) == 3


async def test_a_call_goes_where_fewest_are(connect: Any) -> None:
    """Two searches hold one connection's and a session the other's load, until they end."""
    held = Held()
    servicer = Sessions(held)
    async with (
        serving(servicer) as target,
        connect(target, channels=2) as client,
        client.session() as session,
    ):
        first = asyncio.ensure_future(session.hits("session", collection="c"))
        await held.arrive(1)
        (of_session,) = servicer.peers
        servicer.peers.clear()
        second = asyncio.ensure_future(client.hits("call", collection="c"))
        await held.arrive(1)
        assert of_session not in servicer.peers
        held.word.set()
        await asyncio.gather(first, second)
        servicer.peers.clear()
        for _ in range(4):
            await session.hits("session", collection="c")
    assert servicer.peers == set()  # the session's searches stay on its connection


async def test_one_connection_is_the_default(connect: Any) -> None:
    servicer = Retrieval(whole)
    async with serving(servicer) as target, connect(target) as client:
        await asyncio.gather(*(client.hits("a", collection="c") for _ in range(8)))
    assert len(servicer.peers) == 1
