"""Sparse fields that hold counts of terms: how a collection weighs them, on both its sides.

The index multiplies a query's terms by how rare they are, which is Lucene's and BM25L's way. For
the other variants a query brings what is missing, and for that the index is asked how rare its
terms are: a search for one term alone tells. What it says is remembered for a few seconds. It
follows upserts at once, and counts deleted documents until the engine has cleared them away, just
as Lucene does.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from qdrant_client import models

from tamis.models.blocks.term_weights import needs_rarity, query_weights
from tamis.models.errors import InputError
from tamis.models.retrievers import Nearest, Plan
from tamis.models.types import Sparse, TermWeighting
from tamis.server.plans import representation, vector
from tamis.server.store import CollectionSchema, VectorStore
from tamis.server.tasks import together

FRESH_S = 5.0  # how long what the index said of a term holds
MOST = 100_000  # terms that are remembered; beyond, all are forgotten
AVERAGE_LENGTH = 20.0  # of documents, in words, where nothing tells


@dataclass(frozen=True, slots=True)
class _Said:
    """A number that the index gave, and when."""

    value: float
    asked_s: float


def weighting(schema: CollectionSchema, field: str) -> TermWeighting | None:
    """How the collection weighs a field's counts; None where it holds no counts."""
    table: Mapping[str, Any] = schema.metadata.get("weightings", {})
    return TermWeighting(**table[field]) if field in table else None


def table_of(
    own: Mapping[str, TermWeighting], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Weightings as a collection's metadata has them, each with an average length.

    Raises:
        InputError: A change is out of range.
    """
    table = {}
    for name, how in own.items():
        try:
            changed = replace(how, **changes.get(name, {}))
        except ValueError as error:
            raise InputError(f"weightings[{name!r}]: {error}") from error
        average_length = changed.average_length or AVERAGE_LENGTH
        table[name] = asdict(replace(changed, average_length=average_length))
    return table


class Terms:
    """Gives the terms of queries their weights."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._said: dict[tuple[str, str, int], _Said] = {}
        self._documents: dict[tuple[str, str], _Said] = {}

    async def weighed(self, collection: str, schema: CollectionSchema, plan: Plan) -> Plan:
        """The plan, whose queries in counts weigh what the collection asks for."""
        prefetch = [await self.weighed(collection, schema, part) for part in plan.prefetch]
        order = plan.order
        if isinstance(order, Nearest) and isinstance(order.query, Sparse):
            how = weighting(schema, order.vector)
            if how is not None and needs_rarity(how):
                query = await self._query(collection, order.vector, order.query, how)
                order = replace(order, query=query)
        return replace(plan, order=order, prefetch=tuple(prefetch))

    async def _query(
        self, collection: str, field: str, counts: Sparse, how: TermWeighting
    ) -> Sparse:
        idf = await together(*(self._idf(collection, field, int(term)) for term in counts.indices))
        documents = await self._count(collection, field)
        return query_weights(counts, how, np.array(idf), documents)

    async def _idf(self, collection: str, field: str, term: int) -> float:
        key, now_s = (collection, field, term), time.monotonic()
        known = self._said.get(key)
        if known is None or now_s - known.asked_s >= FRESH_S:
            if len(self._said) >= MOST:
                self._said.clear()
            known = self._said[key] = _Said(await self._ask(collection, field, term), now_s)
        return known.value

    async def _ask(self, collection: str, field: str, term: int) -> float:
        """What the index multiplies the term by; 0 for a term that it does not have."""
        alone = Sparse(np.array([term]), np.array([1.0], np.float32))
        found = await self._store.query(
            collection,
            models.NearestQuery.model_construct(nearest=vector(alone)),
            using=field,
            limit=1,
            vectors=[field],
        )
        if not found or not isinstance(found[0].vector, dict):
            return 0.0
        held = representation(found[0].vector[field])
        if not isinstance(held, Sparse):
            return 0.0
        return found[0].score / float(held.values[held.indices == term].sum())

    async def _count(self, collection: str, field: str) -> int:
        key, now_s = (collection, field), time.monotonic()
        known = self._documents.get(key)
        if known is None or now_s - known.asked_s >= FRESH_S:
            has = models.Filter(must=[models.HasVectorCondition(has_vector=field)])
            known = _Said(await self._store.count(collection, has), now_s)
            self._documents[key] = known
        return int(known.value)
