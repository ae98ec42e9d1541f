"""A collection of clustered token vectors, and searches of it, without encoders or a server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from qdrant_client import models

from tamis.models.blocks.similarity import max_sim, unit
from tamis.models.retrievers.plaid import PLAID
from tamis.models.types import Content, Query
from tamis.server.collections import Collections
from tamis.server.documents import point_id
from tamis.server.late_interaction.building import Builder, Progress
from tamis.server.late_interaction.open_files import Field
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.revision import Revision
from tamis.server.store import VectorStore, point
from tamis.server.store_settings import StoreSettings

VECTOR, DIM, NAME = "t.tokens", 32, "docs"
SETTINGS = LateInteractionSettings(train_after=100)


class Topics:
    """Documents whose tokens are near the directions of a topic."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        kinds = unit(rng.normal(size=(300, DIM)))
        self._topics = kinds[rng.integers(300, size=(40, 20))]

    def document(self, tokens: int = 12) -> np.ndarray:
        topic = self._topics[self._rng.integers(40)]
        return self.near(topic[self._rng.integers(20, size=tokens)])

    def near(self, vectors: np.ndarray) -> np.ndarray:
        noise = self._rng.normal(size=vectors.shape) * 0.3 / np.sqrt(DIM)
        return unit(vectors + noise).astype(np.float32)


@dataclass
class World:
    """A store with one collection, and what searches it.

    Attributes:
        truth: The vectors that it holds, by the documents' ids.
    """

    store: VectorStore
    index: StoreSettings
    folder: Path
    collections: Collections
    revision: Revision
    topics: Topics
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    said: list[Progress] = field(default_factory=list)

    @property
    def late(self) -> LateInteraction:
        return self.collections.late

    async def put(self, documents: Mapping[str, np.ndarray], *, listed: bool = True) -> None:
        """Takes documents in as the server does, or as one that knows of no lists."""
        schema = await self.collections.schema(NAME)
        points = [
            point(
                point_id(name),
                vectors={VECTOR: vectors},
                payload={"id": name, "metadata": {"even": int(name) % 2 == 0}},
            )
            for name, vectors in documents.items()
        ]
        if listed:
            await self.late.put_on_lists(schema, points)
        await self.store.upsert(NAME, points)
        self.truth.update(documents)

    async def fill(self, count: int, first: int = 0) -> None:
        await self.put({str(first + i): self.topics.document() for i in range(count)})

    async def build(
        self,
        settings: LateInteractionSettings = SETTINGS,
        *,
        retrain: bool = False,
        copy: bool = True,
        report: Callable[[Progress], None] | None = None,
    ) -> Field:
        """Builds, and waits until the copy is open."""
        schema = await self.collections.schema(NAME)
        folder = self.late.files.folder_of(schema)
        assert folder is not None
        await Builder(
            store=self.store,
            collection=NAME,
            vector=VECTOR,
            dim=DIM,
            folder=folder,
            settings=settings,
            changed=self.revision.change,
            report=report or self.said.append,
        ).run(retrain=retrain, copy=copy)
        return await self.field()

    async def field(self) -> Field:
        found = await self.late.files.field(await self.collections.schema(NAME), VECTOR)
        assert found is not None
        await self.late.files.opened()
        return found

    async def search(
        self, query: np.ndarray, k: int = 10, *, where: models.Filter | None = None
    ) -> list[str]:
        """The ids that PLAID's plan finds, best first."""
        found = await self.scored(query, k, where=where)
        return [name for name, _ in found]

    async def scored(
        self, query: np.ndarray, k: int = 10, *, where: models.Filter | None = None
    ) -> list[tuple[str, float]]:
        plan = PLAID(vector=VECTOR, candidates=80).plan(Query(Content(), {VECTOR: query}), k)
        assert plan is not None
        schema = await self.collections.schema(NAME)
        self.collections.check(NAME, schema, plan)
        points = await self.late.ask(NAME, schema, plan, where)
        return [(point.payload["id"], point.score) for point in points if point.payload]

    def exact(self, query: np.ndarray, k: int = 10) -> list[str]:
        names = [*self.truth]
        scores = max_sim(query, [self.truth[name] for name in names])
        return [names[i] for i in np.argsort(-scores, kind="stable")[:k]]
