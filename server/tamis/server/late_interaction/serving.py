"""Searches with centroids and the copy in bytes, and puts new documents on the lists."""

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import models

from tamis.models.blocks.centroids import Centroids
from tamis.models.blocks.token_pooling import token_pooling
from tamis.models.errors import InputError
from tamis.models.retrievers import NearCentroids, Nearest, Plan
from tamis.models.runtimes.max_sim import Kernel
from tamis.models.types import Representation
from tamis.server import plans
from tamis.server.late_interaction import generations
from tamis.server.late_interaction.copy import Copy, CopyDamagedError
from tamis.server.late_interaction.fields import IDENTITY, listed, lists_of
from tamis.server.late_interaction.generations import Generation, State
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.plans import Found
from tamis.server.revision import Revision
from tamis.server.store import CollectionSchema, VectorStore

logger = logging.getLogger(__name__)

TTL_S = 5.0  # how long another machine's change may go unnoticed
WEIGHT = 0.05  # of the newest search, or message of documents, in what is remembered of them all
LOOKED_AT = 16  # of a message's documents, for how similar they are to their centroids


@dataclass(slots=True)
class Field:
    """What this process has of one field of one collection.

    Attributes:
        folder: Where its files are.
        vector: Its name.
        state: What the files say.
        mark: Of the revision at which they were read.
        read_s: When that was.
        copy: The open copy, once it is checked.
        damaged: The name of a copy that was not whole.
        damaged_centroids: Whether the centroids' file could not be read.
        stale: The share of candidates that the copy lacked, lately.
        similarity: Of new documents' vectors with their centroids, lately; None for not known.
    """

    folder: Path
    vector: str
    state: State
    mark: bytes
    read_s: float
    copy: Copy | None = None
    damaged: str = ""
    damaged_centroids: bool = False
    stale: float = 0.0
    similarity: float | None = None

    def note_stale(self, share: float) -> None:
        """Remembers what share of a search's candidates the copy lacked."""
        self.stale += WEIGHT * (share - self.stale)

    def note_similarity(self, similarity: float) -> None:
        """Remembers how similar new vectors were to their centroids."""
        before = similarity if self.similarity is None else self.similarity
        self.similarity = before + WEIGHT * (similarity - before)


class LateInteraction:
    """What late interaction does with the collections of one store.

    Args:
        store: The index.
        folder: Where the files of all collections are.
        settings: When and how.
        revision: Changes with every change of the files, by whatever process.
        kernel: Scores the copies; None for no copies.
    """

    def __init__(
        self,
        store: VectorStore,
        folder: Path,
        settings: LateInteractionSettings,
        revision: Revision,
        kernel: Kernel | None,
    ) -> None:
        self.settings = settings
        self._store = store
        self._folder = folder
        self._revision = revision
        self._kernel = kernel
        self._fields: dict[tuple[str, str], Field] = {}
        self._centroids: dict[Path, Centroids] = {}
        self._opening: dict[Path, asyncio.Task[None]] = {}

    def folder_of(self, schema: CollectionSchema) -> Path | None:
        """Where a collection's files are; None for one that was made before it had any."""
        identity = schema.metadata.get(IDENTITY)
        return self.folder_for(str(identity)) if identity else None

    def folder_for(self, identity: str) -> Path:
        """Where the files of the collection are that has this identity in its metadata."""
        return self._folder / identity

    async def field(self, schema: CollectionSchema, vector: str) -> Field | None:
        """What there is of a field, as its files say now; None where it has no lists."""
        folder = self.folder_of(schema)
        if folder is None or vector not in listed(schema):
            return None
        key, mark, now_s = (folder.name, vector), self._revision.now(), time.monotonic()
        known = self._fields.get(key)
        if known and known.mark == mark and now_s - known.read_s < TTL_S:
            return known
        state = await asyncio.to_thread(generations.read, folder, vector)
        if known is None or known.folder != folder:
            known = Field(folder, vector, state, mark, now_s)
            self._fields[key] = known
        if known.state.serving != state.serving:
            known.similarity, known.damaged_centroids = None, False
        if known.state.copy != state.copy:
            known.copy, known.stale = None, 0.0
        known.state, known.mark, known.read_s = state, mark, now_s
        self._open_copy(known)
        return known

    async def forget(self, schema: CollectionSchema) -> None:
        """Deletes the files of a collection that is gone."""
        if folder := self.folder_of(schema):
            for key in [key for key in self._fields if key[0] == folder.name]:
                del self._fields[key]
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def opened(self) -> None:
        """Returns when the copies that are being opened are open, or have proved damaged."""
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def close(self) -> None:
        """Lets go of copies that are being opened."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def ask(
        self, name: str, schema: CollectionSchema, plan: Plan, where: models.Filter | None
    ) -> Found:
        """What the collection has for this plan, best first; the filter holds in all of it.

        Where there are no centroids yet, all documents are compared; where there is no copy, the
        index compares the candidates.
        """
        resolved = await self._resolved(schema, plan)
        if resolved is None:
            return []
        if self._kernel and _by_centroids(plan) and resolved.prefetch:
            field = await self.field(schema, _vector(plan))
            if field and field.copy:
                found = await self._by_copy(name, field, field.copy, resolved, where)
                if found is not None:
                    return found
        return await plans.ask(self._store, name, resolved, where)

    async def put_on_lists(
        self, schema: CollectionSchema, points: Sequence[models.PointStruct]
    ) -> None:
        """Adds to new points the lists of their vectors, of every generation that there is."""
        for vector in listed(schema):
            field = await self.field(schema, vector)
            there: list[dict[str, Any]] = [
                point.vector
                for point in points
                if isinstance(point.vector, dict) and vector in point.vector
            ]
            if field is None or not there:
                continue
            for generation in field.state.generations:
                centroids = await self._loaded(field, generation)
                if centroids is None:
                    continue
                tokens = [np.asarray(own[vector], dtype=np.float32) for own in there]
                terms = await asyncio.to_thread(centroids.terms, tokens)
                slot = lists_of(vector)[generation.slot]
                for own, lists in zip(there, terms, strict=True):
                    own[slot] = plans.vector(lists)
                if generation == field.state.serving:
                    some = np.concatenate(tokens[:LOOKED_AT])
                    similarity = await asyncio.to_thread(centroids.similarity, some)
                    field.note_similarity(similarity)

    async def pooled(self, found: Mapping[str, Representation]) -> dict[str, Representation]:
        """A document's representations, with fewer vectors where the settings pool them.

        Raises:
            InputError: It has more vectors than a document may.
        """
        made, most = dict(found), self.settings.max_vectors
        for name, value in made.items():
            if isinstance(value, np.ndarray) and value.ndim == 2 and len(value) > most:
                raise InputError(f"{name}: {len(value)} vectors; at most {most}")
        for name, factor in self.settings.pooling.items():
            own = made.get(name)
            if isinstance(own, np.ndarray) and own.ndim == 2:
                made[name], _ = await asyncio.to_thread(token_pooling, own, factor)
        return made

    async def _resolved(self, schema: CollectionSchema, plan: Plan) -> Plan | None:
        """The plan with lists for centroids; None for a part that is of no use without them."""
        if isinstance(plan.order, NearCentroids):
            order = await self._lists(schema, plan.order)
            return None if order is None else replace(plan, order=order)
        if not plan.prefetch:
            return plan
        parts = [await self._resolved(schema, part) for part in plan.prefetch]
        return replace(plan, prefetch=tuple(part for part in parts if part))

    async def _lists(self, schema: CollectionSchema, order: NearCentroids) -> Nearest | None:
        field = await self.field(schema, order.vector)
        if field is None or field.state.serving is None:
            return None
        centroids = await self._loaded(field, field.state.serving)
        if centroids is None:
            return None
        query = np.asarray(order.query, dtype=np.float32)
        weights = await asyncio.to_thread(centroids.weights, query, order.probes)
        return Nearest(lists_of(order.vector)[field.state.serving.slot], weights)

    async def _loaded(self, field: Field, generation: Generation) -> Centroids | None:
        """The centroids, or None where their file is damaged or gone: then all are compared."""
        path = field.folder / generation.file
        if path not in self._centroids:
            try:
                loaded = await asyncio.to_thread(generations.load, field.folder, generation)
            except (OSError, ValueError) as error:
                logger.warning("%s: not used, and made again: %s", path, error)
                field.damaged_centroids = True
                return None
            named = {field.folder / one.file for one in field.state.generations}
            for old in [one for one in self._centroids if one.parent == field.folder]:
                if old.name.startswith(f"{field.vector}.") and old not in named:
                    del self._centroids[old]
            self._centroids[path] = loaded
        return self._centroids[path]

    def _open_copy(self, field: Field) -> None:
        """Opens the copy in the background: reading it to its end takes a second a gigabyte."""
        name, path = field.state.copy, field.folder / field.state.copy
        wanted = self._kernel and name and field.copy is None and name != field.damaged
        if wanted and path not in self._opening:
            task = asyncio.create_task(self._check_copy(field, path))
            self._opening[path] = task
            task.add_done_callback(lambda _: self._opening.pop(path, None))

    async def _check_copy(self, field: Field, path: Path) -> None:
        try:
            opened = await asyncio.to_thread(Copy.open, path)
        except CopyDamagedError as error:
            logger.warning("the copy is not used, and made again: %s", error)
            field.damaged, field.stale = path.name, 1.0
            return
        if field.state.copy == path.name:
            field.copy = opened

    async def _by_copy(
        self, name: str, field: Field, copy: Copy, plan: Plan, where: models.Filter | None
    ) -> Found | None:
        """The plan's best by the copy; None where most candidates have changed since it was made.

        The index says which documents there are, which pass the filter, and their versions; those
        that the copy lacks it scores itself.
        """
        order = plan.order
        if not isinstance(order, Nearest) or not isinstance(order.query, np.ndarray):
            return None
        query = order.query.astype(np.float32, copy=False)
        promising = await plans.ask(self._store, name, plan.prefetch[0], where, payload=False)
        if not promising:
            return []
        ids = [str(point.id) for point in promising]
        rows = copy.rows(ids, [point.version for point in promising])
        here = rows >= 0
        field.note_stale(float(1 - here.mean()))
        if here.mean() < 0.5:
            return None
        scoring = asyncio.to_thread(copy.scores, query, rows[here], self._scorer)
        others = [ids[i] for i in np.flatnonzero(~here)]
        scores = dict(
            zip([ids[i] for i in np.flatnonzero(here)], (await scoring).tolist(), strict=True)
        )
        if others:
            among = models.Filter(must=[models.HasIdCondition(has_id=[*others])])
            alone = Plan(order, len(others))
            found = await plans.ask(self._store, name, alone, among, payload=False)
            scores |= {str(point.id): point.score for point in found}
        best = sorted(scores, key=lambda one: (-scores[one], one))[: plan.limit]
        records = await self._store.retrieve(name, best)
        return [
            models.ScoredPoint(
                id=record.id, version=0, score=scores[str(record.id)], payload=record.payload
            )
            for record in records
        ]

    @property
    def _scorer(self) -> Kernel:
        if self._kernel is None:
            raise RuntimeError("there is a copy and nothing to score it with")
        return self._kernel


def _by_centroids(plan: Plan) -> bool:
    """Whether the plan is candidates by centroids, scored exactly."""
    return (
        isinstance(plan.order, Nearest)
        and len(plan.prefetch) == 1
        and isinstance(plan.prefetch[0].order, NearCentroids)
        and plan.prefetch[0].order.vector == plan.order.vector
    )


def _vector(plan: Plan) -> str:
    return plan.order.vector if isinstance(plan.order, Nearest) else ""
