"""A retriever of two parts, of which one answers only when a test lets it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from qdrant_client import models

from tamis.models.retrievers import Nearest, Plan
from tamis.models.retrievers.dense import Dense
from tamis.models.retrievers.hybrid import Hybrid
from tamis.models.types import Content, Query
from tamis.server.cache.embeddings import Source
from tamis.server.collections import Collections
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.retrieving import Retrieve
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


def retrieve(encoders: HeldEncoders) -> Retrieve:
    """The stage, whose parts find `FOUND` as soon as their encoders are ready."""
    held, index = cast(Encoders, encoders), cast(Collections, Index())
    return Retrieve("hybrid", BOTH, held, index, depth=10)
