"""A retriever's plan in the store's words."""

import numpy as np
from qdrant_client import models

from tamis.models.retrievers import Nearest, Plan, ReciprocalRanks
from tamis.models.types import Representation, Sparse
from tamis.server.store import VectorStore


async def ask(
    store: VectorStore, collection: str, plan: Plan, where: models.Filter | None
) -> list[models.ScoredPoint]:
    """What the store finds by this plan, best first. The filter holds in every part of it."""
    using, exact = _field(plan)
    return await store.query(
        collection,
        _order(plan),
        limit=plan.limit,
        using=using,
        prefetch=_prefetches(plan, where),
        where=where,
        exact=exact,
    )


def nearest_of(plan: Plan) -> list[Nearest]:
    """Every comparison with an index vector that the plan makes."""
    own = [plan.order] if isinstance(plan.order, Nearest) else []
    return own + [nearest for part in plan.prefetch for nearest in nearest_of(part)]


def vector(value: Representation) -> models.SparseVector | np.ndarray:
    """A representation as the store takes it: arrays go out as they are."""
    if isinstance(value, Sparse):
        return models.SparseVector.model_construct(indices=value.indices, values=value.values)
    return value


def _order(plan: Plan) -> models.Query:
    match plan.order:
        case Nearest(query=query):
            return models.NearestQuery.model_construct(nearest=vector(query))
        case ReciprocalRanks(k=k):
            return models.RrfQuery(rrf=models.Rrf(k=k + 1))  # Qdrant counts ranks from 0


def _field(plan: Plan) -> tuple[str | None, bool]:
    order = plan.order
    return (order.vector, order.exact) if isinstance(order, Nearest) else (None, False)


def _prefetches(plan: Plan, where: models.Filter | None) -> list[models.Prefetch]:
    made = []
    for part in plan.prefetch:
        using, exact = _field(part)
        made.append(
            models.Prefetch.model_construct(  # an array is not to become a list of floats
                query=_order(part),
                using=using,
                limit=part.limit,
                filter=where,
                prefetch=_prefetches(part, where),
                params=models.SearchParams(exact=True) if exact else None,
                score_threshold=None,
            )
        )
    return made
