"""`qdrant_client.models` as Qdrant's messages and back; vectors may be arrays on either side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import RestToGrpc, payload_to_grpc

from tamis.server.store import wire
from tamis.server.store.payloads import unpack

# An upsert holds the engine for 15 ms a MiB, so that a search waits for 60 ms at most behind one.
UPSERT_BYTES = 4 << 20


def ids_of(ids: Iterable[str]) -> list[grpc.PointId]:
    """UUIDs as messages."""
    return [grpc.PointId(uuid=identifier) for identifier in ids]


def id_of(message: grpc.PointId) -> int | str:
    """A point's id; a number only if someone else wrote the point."""
    return message.uuid if message.WhichOneof("point_id_options") == "uuid" else message.num


def filter_of(where: models.Filter | None) -> grpc.Filter | None:
    """A filter's message."""
    return None if where is None else RestToGrpc.convert_filter(where)


def with_vectors(names: Sequence[str]) -> grpc.WithVectorsSelector:
    """Which vectors to bring along."""
    if not names:
        return grpc.WithVectorsSelector(enable=False)
    return grpc.WithVectorsSelector(include=grpc.VectorsSelector(names=names))


def vectors_of(message: grpc.VectorsOutput) -> Mapping[str, Any]:
    """The vectors that came along, by name."""
    named = message.vectors.vectors
    return {name: wire.value_of(named[name]) for name in named}


def upserts(collection: str, points: Sequence[models.PointStruct]) -> Iterator[grpc.UpsertPoints]:
    """Points in messages of a bounded size; one point alone may exceed it."""
    request = grpc.UpsertPoints(collection_name=collection, wait=True)
    size = 0
    for point in points:
        message = request.points.add(
            id=RestToGrpc.convert_extended_point_id(point.id),
            payload=payload_to_grpc(point.payload or {}),
        )
        size += message.ByteSize()
        vectors: Any = point.vector
        named = message.vectors.vectors.vectors
        for name, value in vectors.items():
            size += wire.fill(named[name], value)
        if size >= UPSERT_BYTES:
            yield request
            request = grpc.UpsertPoints(collection_name=collection, wait=True)
            size = 0
    if request.points:
        yield request


def updates(
    collection: str, points: Sequence[models.PointVectors], where: models.Filter | None
) -> Iterator[grpc.UpdatePointVectors]:
    """Vectors for points that are there and pass, in messages of a bounded size."""

    def empty() -> grpc.UpdatePointVectors:
        return grpc.UpdatePointVectors(
            collection_name=collection, wait=True, update_filter=filter_of(where)
        )

    request, size = empty(), 0
    for point in points:
        message = request.points.add(id=RestToGrpc.convert_extended_point_id(point.id))
        vectors: Any = point.vector
        named = message.vectors.vectors.vectors
        size += sum(wire.fill(named[name], value) for name, value in vectors.items())
        if size >= UPSERT_BYTES:
            yield request
            request, size = empty(), 0
    if request.points:
        yield request


def record_of(message: grpc.RetrievedPoint, *, vectors: bool) -> models.Record:
    """A point that was asked for, with its payload."""
    if not vectors:
        return models.Record(id=id_of(message.id), payload=unpack(message.payload))
    return models.Record.model_construct(
        id=id_of(message.id),
        payload=unpack(message.payload),
        vector=vectors_of(message.vectors),
    )


def hit_of(message: grpc.ScoredPoint, *, vectors: bool) -> models.ScoredPoint:
    """A point that was found, with its payload."""
    if not vectors:
        return models.ScoredPoint(
            id=id_of(message.id),
            version=message.version,
            score=message.score,
            payload=unpack(message.payload),
        )
    return models.ScoredPoint.model_construct(
        id=id_of(message.id),
        version=message.version,
        score=message.score,
        payload=unpack(message.payload),
        vector=vectors_of(message.vectors),  # arrays, which the constructor would make lists of
    )


def query_of(query: Any) -> grpc.Query:
    """A query's message, whether its vector is a list or an array."""
    if isinstance(query, models.NearestQuery) and query.mmr is None:
        query = query.nearest
    if isinstance(query, (np.ndarray, list, models.SparseVector)):
        message = grpc.Query()
        wire.fill(message.nearest, query)
        return message
    return RestToGrpc.convert_query_interface(query)


def params_of(params: models.SearchParams | None, *, exact: bool) -> grpc.SearchParams | None:
    """A search's parameters as a message; None of none."""
    if exact:
        params = (params or models.SearchParams()).model_copy(update={"exact": True})
    return RestToGrpc.convert_search_params(params) if params else None


def prefetch_of(prefetch: models.Prefetch, *, exact: bool) -> grpc.PrefetchQuery:
    """A prefetch's message, and those of the prefetches below it."""
    inner: Any = prefetch.prefetch or []
    return grpc.PrefetchQuery(
        prefetch=[
            prefetch_of(part, exact=exact)
            for part in (inner if isinstance(inner, list) else [inner])
        ],
        query=query_of(prefetch.query) if prefetch.query is not None else None,
        using=prefetch.using,
        filter=filter_of(prefetch.filter),
        params=params_of(prefetch.params, exact=exact),
        score_threshold=prefetch.score_threshold,
        limit=prefetch.limit,
    )
