"""What a collection indexes: from what encoders make, and told again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from qdrant_client import models

from tamis.models.errors import InputError
from tamis.models.types import Head, Kind, TermWeighting
from tamis.server.late_interaction.fields import IDENTITY, hidden, lists_of
from tamis.server.store import CollectionSchema
from tamis.server.terms import table_of, weighting

MAX_INDEXES = 64  # each costs memory, and time with each document
_FIELD = re.compile(r"[^.\[\]\x00-\x1f]+(\.[^.\[\]\x00-\x1f]+)*")


# Of a dimension's values the largest 1 % are cut off, so that the others are told apart better.
_INT8 = models.ScalarQuantization(
    scalar=models.ScalarQuantizationConfig(
        type=models.ScalarType.INT8, quantile=0.99, always_ram=True
    )
)


@dataclass(frozen=True, slots=True)
class DenseIndex:
    """How dense vectors are searched.

    Attributes:
        int8: Whether new collections search them in 8 bits a number, a quarter of the memory, and
            compare the best at full precision.
        oversampling: How many times as many as are wanted are compared at full precision.
    """

    int8: bool = False
    oversampling: float = 2.0


@dataclass(frozen=True, slots=True)
class Field:
    """One indexed representation."""

    name: str
    kind: Kind
    dim: int
    fingerprint: str
    weighting: TermWeighting | None = None


def new_schema(
    heads: Mapping[str, Head],
    fingerprints: Mapping[str, str],
    weightings: Mapping[str, Mapping[str, Any]],
    indexes: Mapping[str, models.PayloadSchemaType],
    *,
    int8: bool = False,
) -> CollectionSchema:
    """What a new collection of these heads indexes.

    Args:
        heads: What the encoders make, as `encoder.head`.
        fingerprints: Of the heads' encoders, by the heads' names.
        weightings: Settings of fields of counts that are not those of their encoders.
        indexes: What fields of the metadata hold that filters will test.
        int8: Whether dense vectors are searched in 8 bits a number.

    Raises:
        InputError: A weighting is of no field of counts, or an index of no field of metadata.
    """
    own = {name: head.weighting for name, head in heads.items() if head.weighting}
    if strange := [name for name in weightings if name not in own]:
        raise InputError(f"weightings: {strange[0]!r} is no field of counts of this collection")
    if len(indexes) > MAX_INDEXES:
        raise InputError(f"indexes: {len(indexes)}; at most {MAX_INDEXES}")
    if odd := [name for name in indexes if not _FIELD.fullmatch(name)]:
        raise InputError(f"indexes: {odd[0][:80]!r} is no name of a metadata field")
    return CollectionSchema(
        vectors={n: _params(h, int8=int8) for n, h in heads.items() if h.kind is not Kind.SPARSE},
        sparse={
            n: models.SparseVectorParams(modifier=models.Modifier.IDF if h.idf else None)
            for n, h in heads.items()
            if h.kind is Kind.SPARSE
        }
        | {
            lists: models.SparseVectorParams()
            for n, h in heads.items()
            if h.kind is Kind.MULTI
            for lists in lists_of(n)
        },
        metadata={
            IDENTITY: uuid4().hex,
            "fingerprints": dict(fingerprints),
            "weightings": table_of(own, weightings),
        },
        indexes={f"metadata.{name}": kind for name, kind in indexes.items()},
    )


def fields_of(schema: CollectionSchema) -> list[Field]:
    """The representations that a collection indexes, by name."""
    prints = schema.metadata.get("fingerprints", {})
    fields = [
        Field(n, Kind.MULTI if p.multivector_config else Kind.DENSE, p.size, prints.get(n, ""))
        for n, p in schema.vectors.items()
    ]
    fields += [
        Field(n, Kind.SPARSE, 0, prints.get(n, ""), weighting(schema, n))
        for n in schema.sparse
        if not hidden(n)
    ]
    return sorted(fields, key=lambda field: field.name)


def indexes_of(schema: CollectionSchema) -> dict[str, models.PayloadSchemaType]:
    """The fields of the metadata that have an index."""
    found = schema.indexes.items()
    return {name.removeprefix("metadata."): kind for name, kind in sorted(found)}


def _params(head: Head, *, int8: bool) -> models.VectorParams:
    if head.kind is Kind.DENSE:
        distance = models.Distance.DOT if head.dot else models.Distance.COSINE
        return models.VectorParams(
            size=head.dim, distance=distance, quantization_config=_INT8 if int8 else None
        )
    return models.VectorParams(  # compared one by one, never through a graph
        size=head.dim,
        distance=models.Distance.DOT,
        datatype=models.Datatype.FLOAT16,
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
        hnsw_config=models.HnswConfigDiff(m=0),
        on_disk=True,
    )
