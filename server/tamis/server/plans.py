"""A retriever's plan in the store's words; what no index engine can do, done with what it finds."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from qdrant_client import models

from tamis.models.retrievers import (
    DistributionBased,
    Fusion,
    NearCentroids,
    Nearest,
    Plan,
    ReciprocalRanks,
    Scored,
    WeightedScores,
)
from tamis.models.types import Candidate, Representation, Sparse
from tamis.server.store import CollectionSchema, VectorStore
from tamis.server.tasks import together

Found = list[models.ScoredPoint]


async def ask(
    store: VectorStore,
    collection: str,
    plan: Plan,
    where: models.Filter | None,
    *,
    payload: bool = True,
) -> Found:
    """What the store finds by this plan, best first. The filter holds in every part of it.

    Args:
        store: Which.
        collection: Its name.
        plan: Without centroids, which `late_interaction` turns into lists.
        where: The filter.
        payload: Whether documents come along; without them, the plan must be one for the engine.
    """
    if _in_engine(plan):
        using, exact = _field(plan)
        return await store.query(
            collection,
            _order(plan),
            limit=plan.limit,
            using=using,
            prefetch=_prefetches(plan, where),
            where=where,
            exact=exact,
            params=_params(plan),
            payload=payload,
        )
    rankings = await together(*(ask(store, collection, part, where) for part in plan.prefetch))
    match plan.order:
        case Nearest() as order:
            found = {point.id: point for ranking in rankings for point in ranking}
            among = models.Filter(must=[models.HasIdCondition(has_id=[*found])])
            alone = Plan(replace(order, exact=True), plan.limit)
            return await ask(store, collection, alone, among) if found else []
        case Scored() as order:
            return await _scored(store, collection, order, rankings, plan.limit)
        case ReciprocalRanks() | DistributionBased() | WeightedScores() as order:
            return fuse(order, rankings, plan.limit)
        case order:
            raise TypeError(f"nothing orders by {type(order).__name__}")


def fuse(fusion: Fusion, rankings: Sequence[Found], limit: int) -> Found:
    """The `limit` best of several rankings together; equals are in the ids' order."""
    points = {str(point.id): point for ranking in rankings for point in ranking}
    scores = fusion.fused(
        [[(str(point.id), point.score) for point in ranking] for ranking in rankings]
    )
    best = sorted(scores, key=lambda name: (-scores[name], name))[:limit]
    return [points[name].model_copy(update={"score": scores[name]}) for name in best]


def rescored(plan: Plan, schema: CollectionSchema, oversampling: float) -> Plan:
    """The plan, which compares at full precision what it finds among vectors in int8."""
    prefetch = tuple(rescored(part, schema, oversampling) for part in plan.prefetch)
    order = plan.order
    if isinstance(order, Nearest) and not plan.prefetch:
        params = schema.vectors.get(order.vector)
        if params and params.quantization_config:
            order = replace(order, oversampling=oversampling)
    return replace(plan, order=order, prefetch=prefetch)


def nearest_of(plan: Plan) -> list[Nearest | NearCentroids]:
    """Every comparison with an index vector that the plan makes."""
    own = [plan.order] if isinstance(plan.order, Nearest | NearCentroids) else []
    return own + [nearest for part in plan.prefetch for nearest in nearest_of(part)]


def read(plan: Plan) -> list[str]:
    """The index vectors that the plan's scorers are brought."""
    own = plan.order.vectors if isinstance(plan.order, Scored) else ()
    return [*own, *(name for part in plan.prefetch for name in read(part))]


def vector(value: Representation) -> models.SparseVector | np.ndarray:
    """A representation as the store takes it: arrays go out as they are."""
    if isinstance(value, Sparse):
        return models.SparseVector.model_construct(indices=value.indices, values=value.values)
    return value


def representation(stored: object) -> Representation:
    """What the store has as a representation."""
    if isinstance(stored, models.SparseVector):
        order = np.argsort(stored.indices)
        indices = np.asarray(stored.indices, dtype=np.int64)
        return Sparse(indices[order], np.asarray(stored.values, dtype=np.float32)[order])
    return np.asarray(stored, dtype=np.float32)


async def _scored(
    store: VectorStore, collection: str, order: Scored, rankings: Sequence[Found], limit: int
) -> Found:
    points = {str(point.id): point for ranking in rankings for point in ranking}
    records = await store.retrieve(collection, [*points], vectors=order.vectors)
    candidates = [
        Candidate(
            str(record.id),
            0.0,
            representations={
                name: representation(value)
                for name, value in record.vector.items()
                if name in order.vectors
            },
        )
        for record in records
        if isinstance(record.vector, dict)
    ]
    if not candidates:
        return []
    scores = await asyncio.to_thread(order.scorer.score, order.query, candidates)
    ranked = sorted(
        (-float(score), candidate.document_id)
        for candidate, score in zip(candidates, scores, strict=True)
        if np.isfinite(score)
    )
    return [points[name].model_copy(update={"score": -score}) for score, name in ranked[:limit]]


def _in_engine(plan: Plan) -> bool:
    """Whether an index engine has all that the plan asks for."""
    own = isinstance(plan.order, Nearest | ReciprocalRanks | DistributionBased)
    return own and all(_in_engine(part) for part in plan.prefetch)


def _order(plan: Plan) -> models.Query:
    match plan.order:
        case Nearest(query=query):
            return models.NearestQuery.model_construct(nearest=vector(query))
        case ReciprocalRanks(k=k):
            return models.RrfQuery(rrf=models.Rrf(k=k + 1))  # Qdrant counts ranks from 0
        case DistributionBased():
            return models.FusionQuery(fusion=models.Fusion.DBSF)
        case order:
            raise TypeError(f"no index engine orders by {type(order).__name__}")


def _field(plan: Plan) -> tuple[str | None, bool]:
    order = plan.order
    return (order.vector, order.exact) if isinstance(order, Nearest) else (None, False)


def _params(plan: Plan) -> models.SearchParams | None:
    order = plan.order
    if not isinstance(order, Nearest):
        return None
    if order.exact:
        return models.SearchParams(exact=True)
    if not order.oversampling:
        return None
    quantization = models.QuantizationSearchParams(rescore=True, oversampling=order.oversampling)
    return models.SearchParams(quantization=quantization)


def _prefetches(plan: Plan, where: models.Filter | None) -> list[models.Prefetch]:
    made = []
    for part in plan.prefetch:
        using, _ = _field(part)
        made.append(
            models.Prefetch.model_construct(  # an array is not to become a list of floats
                query=_order(part),
                using=using,
                limit=part.limit,
                filter=where,
                prefetch=_prefetches(part, where),
                params=_params(part),
                score_threshold=None,
            )
        )
    return made
