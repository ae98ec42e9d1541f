"""When a stage of several retrievers says what it has; encoders and index answer when told to."""

import asyncio
from dataclasses import replace

import pytest
from held_retrieval import HeldEncoders, retrieve

from tamis.models.errors import InputError
from tamis.server.cache.embeddings import Source
from tamis.server.content import RawContent
from tamis.server.errors import OverloadedError
from tamis.server.search import Search


def names(search: Search) -> list[str]:
    return [candidate.document_id for candidate in search.candidates]


SEARCH = Search(collection="c", content=RawContent("words"), k=3)


async def test_the_first_ranking_is_there_while_another_encoder_works() -> None:
    encoders, shown = HeldEncoders(), asyncio.Queue[tuple[list[str], str]]()

    def report(search: Search, settled: range, method: str = "") -> None:
        shown.put_nowait((names(search), method))

    running = asyncio.create_task(retrieve(encoders)(replace(SEARCH, report=report)))
    assert await asyncio.wait_for(shown.get(), 10) == (["a", "b"], "dense")
    assert not running.done()
    encoders.word.set()
    after = await running
    assert names(after) == ["b", "a", "c"]  # which both found comes first
    assert shown.empty()
    assert after.query is not None
    assert set(after.query.representations) == {"fast.dense", "slow.dense"}
    assert after.source is Source.ENCODER
    assert sorted(encoders.asked) == [["fast.dense"], ["slow.dense"]]


@pytest.mark.parametrize("error", [OverloadedError("full"), InputError("no good")])
async def test_a_part_that_fails_fails_the_stage_and_leaves_nothing_behind(
    error: Exception,
) -> None:
    encoders = HeldEncoders(error=error)
    encoders.word.set()
    before = asyncio.all_tasks()
    with pytest.raises(type(error)):
        await retrieve(encoders)(replace(SEARCH, report=lambda *_: None))
    assert asyncio.all_tasks() == before


async def test_a_search_that_is_cancelled_stops_its_encoders() -> None:
    before = asyncio.all_tasks()
    shown = asyncio.Event()
    asked = replace(SEARCH, report=lambda *_: shown.set())
    running = asyncio.create_task(retrieve(HeldEncoders())(asked))
    await asyncio.wait_for(shown.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before
