"""Searches with centroids and the copy in bytes, and puts new documents on the lists."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import models

from tamis.models.blocks.token_pooling import token_pooling
from tamis.models.errors import InputError
from tamis.models.retrievers import NearCentroids, Nearest, Plan
from tamis.models.runtimes.max_sim import Kernel
from tamis.models.types import Representation
from tamis.server import plans
from tamis.server.late_interaction.copy import Copy
from tamis.server.late_interaction.fields import listed, lists_of
from tamis.server.late_interaction.open_files import Field, OpenFiles
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.plans import Found
from tamis.server.revision import Revision
from tamis.server.store import CollectionSchema, VectorStore

LOOKED_AT = 16  # of a message's documents, for how similar they are to their centroids


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
        self.files = OpenFiles(folder, revision, copies=kernel is not None)
        self._store = store
        self._kernel = kernel

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
            field = await self.files.field(schema, _vector(plan))
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
            field = await self.files.field(schema, vector)
            there: list[dict[str, Any]] = [
                point.vector
                for point in points
                if isinstance(point.vector, dict) and vector in point.vector
            ]
            if field is None or not there:
                continue
            for generation in field.state.generations:
                centroids = await self.files.centroids(field, generation)
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
        field = await self.files.field(schema, order.vector)
        if field is None or field.state.serving is None:
            return None
        centroids = await self.files.centroids(field, field.state.serving)
        if centroids is None:
            return None
        query = np.asarray(order.query, dtype=np.float32)
        weights = await asyncio.to_thread(centroids.weights, query, order.probes)
        return Nearest(lists_of(order.vector)[field.state.serving.slot], weights)

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
