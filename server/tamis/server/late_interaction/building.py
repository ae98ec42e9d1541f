"""Makes what late interaction searches with: trains centroids, fills lists, copies vectors.

Every step reads the index page by page, so that other calls come between. Documents that come in
meanwhile are put on the lists by whoever takes them in.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import numpy as np
from qdrant_client import models

from tamis.models.blocks.centroids import Centroids, advised_count, train
from tamis.server.late_interaction import generations
from tamis.server.late_interaction.copy import CopyWriter
from tamis.server.late_interaction.fields import having, lists_of
from tamis.server.late_interaction.generations import Generation, State
from tamis.server.late_interaction.reading import Reader
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.plans import vector as stored
from tamis.server.store import VectorStore

logger = logging.getLogger(__name__)

TOKENS_EACH = 40  # of the sample, for each centroid
HELD_OUT = 0.1  # of the sample, for measuring how well the centroids stand for the rest
PASSES = 8  # over documents on no list: what is taken in meanwhile is on them, but for a few


class Step(StrEnum):
    """What is being done."""

    SAMPLE = "sample"
    TRAIN = "train"
    LIST = "list"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come.

    Attributes:
        vector: The field.
        step: Which.
        done: Documents, or for `TRAIN` centroids.
        total: How many there will be, as far as is known.
    """

    vector: str
    step: Step
    done: int
    total: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Makes it for one field of one collection. One process at a time may.

    Attributes:
        store: The index.
        collection: Its name there.
        vector: The multi-vector field.
        dim: The length of one vector.
        folder: Where the collection's files are.
        settings: When and how.
        changed: Is called when searches should look at the files again.
        report: Is told how far it has come.
    """

    store: VectorStore
    collection: str
    vector: str
    dim: int
    folder: Path
    settings: LateInteractionSettings
    changed: Callable[[], None]
    report: Report

    async def run(self, *, retrain: bool = False, copy: bool = True) -> None:
        """Does what is due.

        Args:
            retrain: Train the centroids again even if they still fit.
            copy: Whether a copy in bytes is wanted, where the settings have one at all.
        """
        documents = await self.store.count(self.collection, having([self.vector]))
        state = await asyncio.to_thread(self._readable)
        if state.filling or retrain or outgrown(self.settings, state, documents):
            await self._next(state, documents, afresh=retrain)
        elif state.serving:
            await self._fill(state.serving, documents)
        state = await asyncio.to_thread(generations.read, self.folder, self.vector)
        if copy and self.settings.copy and state.serving:
            await self._copy(state, documents)
        await asyncio.to_thread(self._clean)

    @property
    def _reader(self) -> Reader:
        return Reader(
            store=self.store, collection=self.collection, vector=self.vector, dim=self.dim
        )

    def _readable(self) -> State:
        """What there is, but for centroids that cannot be read."""
        state = generations.read(self.folder, self.vector)
        return replace(
            state, serving=self._if_whole(state.serving), filling=self._if_whole(state.filling)
        )

    def _if_whole(self, generation: Generation | None) -> Generation | None:
        try:
            if generation:
                generations.load(self.folder, generation)
        except (OSError, ValueError) as error:
            logger.warning("%s: %s: not used: %s", self.collection, self.vector, error)
            return None
        return generation

    async def _next(self, state: State, documents: int, *, afresh: bool) -> None:
        """From a sample to the moment when searches use the new generation.

        One whose lists were being filled when its process ended is gone on with.
        """
        generation = state.filling
        if generation is None or afresh:
            generation = await self._train(state, documents)
            field = lists_of(self.vector)[generation.slot]
            await self.store.delete_vectors(self.collection, [field], having([field]))
            await self._say(replace(state, filling=generation))  # who takes documents in fills too
        await self._fill(generation, documents)
        await self._say(replace(state, serving=generation, filling=None))
        await self._fill(generation, documents)  # for who did not know yet

    async def _train(self, state: State, documents: int) -> Generation:
        sample, seen = await self._sample(documents)
        count = advised_count(len(sample) * documents // max(seen, 1))
        held = max(1, int(HELD_OUT * len(sample)))
        self.report(Progress(self.vector, Step.TRAIN, 0, count))
        threads = self.settings.threads

        def trained() -> tuple[Centroids, float]:
            made = train(sample[held:], count, threads=threads)
            return made, made.similarity(sample[:held], threads=threads)

        centroids, similarity = await asyncio.to_thread(trained)
        self.report(Progress(self.vector, Step.TRAIN, len(centroids), len(centroids)))
        generation = Generation(
            number=1 + max((one.number for one in state.generations), default=0),
            slot=1 - state.serving.slot if state.serving else 0,
            file="",
            starts=(),
            documents=documents,
            similarity=similarity,
        )
        kept = await asyncio.to_thread(
            generations.keep, self.folder, self.vector, generation, centroids
        )
        logger.info(
            "%s: %s: %d centroids, similarity %.3f",
            *(self.collection, self.vector, len(centroids), similarity),
        )
        return kept

    async def _sample(self, documents: int) -> tuple[np.ndarray, int]:
        """Tokens, as many as training wants, and of how many documents.

        Ids are digests, so that the first ones are as good as any.
        """
        pages: list[np.ndarray] = []
        seen = tokens = 0
        async for found in self._reader.pages(having([self.vector])):
            pages += found.values()
            seen += len(found)
            tokens += sum(len(one) for one in found.values())
            wanted = TOKENS_EACH * advised_count(tokens * documents // max(seen, 1))
            self.report(Progress(self.vector, Step.SAMPLE, seen, documents))
            if tokens * (1 - HELD_OUT) >= wanted:
                break
        sample = np.concatenate(pages) if pages else np.empty((0, self.dim), dtype=np.float32)
        # Tokens of one document are alike: those that are held out are to be of all of them.
        return np.random.default_rng(0).permutation(sample), seen

    async def _fill(self, generation: Generation, documents: int) -> None:
        """Puts all documents on the lists that are on none, until there are no more of them."""
        centroids = await asyncio.to_thread(generations.load, self.folder, generation)
        field = lists_of(self.vector)[generation.slot]
        missing = having([self.vector], without=[field])
        done = documents - await self.store.count(self.collection, missing)
        for _ in range(PASSES):
            before = done
            async for found in self._reader.pages(missing):
                points = await asyncio.to_thread(self._terms, centroids, field, found)
                await self.store.update_vectors(
                    # One that was replaced since it was read has lists of its own.
                    *(self.collection, points),
                    where=having(without=[field]),
                )
                done += len(points)
                self.report(Progress(self.vector, Step.LIST, min(done, documents), documents))
            if done == before:
                return

    def _terms(
        self, centroids: Centroids, field: str, found: dict[str, np.ndarray]
    ) -> list[models.PointVectors]:
        return [
            models.PointVectors.model_construct(id=one, vector={field: stored(terms)})
            for one, terms in zip(
                found,
                centroids.terms([*found.values()], threads=self.settings.threads),
                strict=True,
            )
        ]

    async def _copy(self, state: State, documents: int) -> None:
        """A copy of all vectors; the one before it is in service until this one is whole."""
        name = f"{self.vector}.copy.{uuid4().hex[:8]}"
        bits = self.settings.copy_bits
        writer = await asyncio.to_thread(CopyWriter, self.folder / name, dim=self.dim, bits=bits)
        reader, done = self._reader, 0
        with writer:
            async for ids in reader.ids(having([self.vector])):
                versions = await reader.versions(ids)  # first: a later change makes another version
                found = await reader.vectors(ids)
                await asyncio.to_thread(writer.add, found, versions)
                done += len(ids)
                self.report(Progress(self.vector, Step.COPY, min(done, documents), documents))
            await asyncio.to_thread(writer.finish)
        await self._say(replace(state, copy=name))

    async def _say(self, state: State) -> None:
        await asyncio.to_thread(generations.write, self.folder, self.vector, state)
        self.changed()

    def _clean(self) -> None:
        """Deletes what no search will ask for any more; what is open stays open."""
        state = generations.read(self.folder, self.vector)
        named = {one.file for one in state.generations} | {state.copy, f"{self.vector}.json"}
        for path in self.folder.glob(f"{self.vector}.*"):
            if path.name in named:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def outgrown(settings: LateInteractionSettings, state: State, documents: int) -> bool:
    """Whether a collection of so many documents needs centroids that it has not."""
    if state.serving is None:
        return documents >= settings.train_after
    return documents >= settings.retrain_growth * max(state.serving.documents, 1)
