"""The sparse fields that a collection keeps beside its multi-vectors."""

from collections.abc import Iterable

from qdrant_client import models

from tamis.server.store import CollectionSchema

# Which of the two is in service is said by the generation of centroids.
_LISTS = (".centroids_a", ".centroids_b")
IDENTITY = "identity"  # the key of a collection's metadata that tells it from others of its name


def lists_of(vector: str) -> tuple[str, str]:
    """The two sparse fields of a multi-vector."""
    return f"{vector}{_LISTS[0]}", f"{vector}{_LISTS[1]}"


def hidden(name: str) -> bool:
    """Whether a field is such a one, which no user needs to know of."""
    return name.endswith(_LISTS)


def listed(schema: CollectionSchema) -> list[str]:
    """The multi-vectors that have such fields; collections of before have none."""
    return [
        name
        for name, params in schema.vectors.items()
        if params.multivector_config and set(lists_of(name)) <= {*schema.sparse}
    ]


def having(there: Iterable[str] = (), without: Iterable[str] = ()) -> models.Filter:
    """Documents that have these vectors, and not those."""
    return models.Filter(
        must=[models.HasVectorCondition(has_vector=name) for name in there] or None,
        must_not=[models.HasVectorCondition(has_vector=name) for name in without] or None,
    )
