"""When a stage of several retrievers says what it has; encoders and index answer when told to."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.models.retrievers import Nearest, Plan
from tamis.models.retrievers.dense import Dense
from tamis.models.retrievers.hybrid import Hybrid
from tamis.models.types import Content, Query
from tamis.server.cache.embeddings import Source
from tamis.server.collections import Collections
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.errors import OverloadedError
from tamis.server.retrieving import Retrieve
from tamis.server.search import Search
from tamis.server.store import CollectionSchema

FOUND = {"fast.dense": "ab", "slow.dense": "bc"}
BOTH = Hybrid(retrievers=(Dense(vector="fast.dense"), Dense(vector="slow.dense")))


@dataclass
class HeldEncoders:
    """Encoders of which `slow` waits for a word, and may then fail."""

    word: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def truncating(self, content: RawContent, needed: Collection[str]) -> list[str]:
        return []

    async def query(
        self, content: RawContent, needed: Collection[str], **_: Any
    ) -> tuple[Query, Source]:
        self.asked.append(sorted(needed))
        if "slow.dense" in needed:
            await self.word.wait()
            if self.error:
                raise self.error
        return Query(Content(content.text), {n: np.ones(2) for n in needed}), Source.ENCODER


class Index:
    """What a collection's parts answer: two documents for each vector, in a fixed order."""

    def __init__(self) -> None:
        self.terms = self.late = self
        self.dense = SimpleNamespace(oversampling=2.0)

    async def schema(self, name: str) -> CollectionSchema:
        return CollectionSchema({}, {}, {})

    def check(self, *_: Any) -> None:
        pass

    async def weighed(self, name: str, schema: CollectionSchema, plan: Plan) -> Plan:
        return plan

    async def ask(
        self, name: str, schema: CollectionSchema, plan: Plan, where: Any
    ) -> list[models.ScoredPoint]:
        assert isinstance(plan.order, Nearest)
        return [
            models.ScoredPoint(id=ord(one), version=0, score=1 - rank / 10, payload={"id": one})
            for rank, one in enumerate(FOUND[plan.order.vector])
        ]


def stage(encoders: HeldEncoders) -> Retrieve:
    held, index = cast(Encoders, encoders), cast(Collections, Index())
    return Retrieve("hybrid", BOTH, held, index, depth=10)


def names(search: Search) -> list[str]:
    return [candidate.document_id for candidate in search.candidates]


SEARCH = Search(collection="c", content=RawContent("words"), k=3)


async def test_the_first_ranking_is_there_while_another_encoder_works() -> None:
    encoders, shown = HeldEncoders(), asyncio.Queue[tuple[list[str], str]]()

    def report(search: Search, settled: range, method: str = "") -> None:
        shown.put_nowait((names(search), method))

    running = asyncio.create_task(stage(encoders)(replace(SEARCH, report=report)))
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
        await stage(encoders)(replace(SEARCH, report=lambda *_: None))
    assert asyncio.all_tasks() == before


async def test_a_search_that_is_cancelled_stops_its_encoders() -> None:
    before = asyncio.all_tasks()
    shown = asyncio.Event()
    asked = replace(SEARCH, report=lambda *_: shown.set())
    running = asyncio.create_task(stage(HeldEncoders())(asked))
    await asyncio.wait_for(shown.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before
