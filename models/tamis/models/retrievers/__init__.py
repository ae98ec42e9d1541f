"""Retrievers say how a collection is searched. They own no storage.

One file a method; a frozen dataclass, as in `encoders`. A retriever names the representations that
it searches and turns a query's representations into a `Plan`, a tree of small values that the
server translates for whichever index engine holds the collection.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float

from tamis.models.blocks import rank_fusion
from tamis.models.blocks.rank_fusion import Ranking
from tamis.models.method import Method
from tamis.models.types import Candidate, Query, Representation

SCALES = MappingProxyType({"min_max": rank_fusion.min_max, "z_score": rank_fusion.z_score})


@dataclass(frozen=True, slots=True)
class Nearest:
    """Order by closeness to `query` in the index `vector`, such as `minilm.dense`.

    Attributes:
        vector: The index vector.
        query: What its vectors are compared with.
        exact: Whether all of them are, at full precision.
        oversampling: Where they are kept in fewer bits: how many times `limit` are found by these
            and then compared at full precision; 0 for the index's own way.
    """

    vector: str
    query: Representation
    exact: bool = False
    oversampling: float = 0.0


@runtime_checkable
class Fusion(Protocol):
    """Order by what the prefetched rankings say together."""

    def fused(self, rankings: Sequence[Ranking]) -> dict[str, float]:
        """Each document's score; higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class NearCentroids:
    """Order by an estimate of MaxSim, from the centroids of the documents' vectors.

    It stands in a prefetch; a collection without centroids leaves that out.

    Attributes:
        vector: The index vector that the centroids are of.
        query: One vector a token.
        probes: How many centroids each of them looks for.
    """

    vector: str
    query: Representation
    probes: int


@dataclass(frozen=True, slots=True)
class ReciprocalRanks:
    """Order by the sum of 1 / (k + rank) over the prefetched rankings."""

    k: int = 60

    def fused(self, rankings: Sequence[Ranking]) -> dict[str, float]:
        return rank_fusion.reciprocal_ranks(rankings, self.k)


@dataclass(frozen=True, slots=True)
class DistributionBased:
    """Order by the sum of scores, each ranking's scaled by its mean and deviation."""

    def fused(self, rankings: Sequence[Ranking]) -> dict[str, float]:
        return rank_fusion.distribution_based(rankings)


@dataclass(frozen=True, slots=True)
class WeightedScores:
    """Order by the weighted sum of scores, each ranking's scaled as `SCALES` says.

    No index engine does this: the server fuses what they find.
    """

    weights: tuple[float, ...]
    scale: str = "min_max"

    def fused(self, rankings: Sequence[Ranking]) -> dict[str, float]:
        return rank_fusion.weighted_scores(rankings, self.weights, SCALES[self.scale])


@runtime_checkable
class Scorer(Protocol):
    """A pure function that scores documents by their stored representations."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The representations that it compares, as `encoder.head`."""
        ...

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        """How relevant each candidate is; higher is better. -inf leaves it out."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """Order what the prefetches found by a function that no index engine has.

    Attributes:
        scorer: The function. The server brings it the documents' `vectors`.
        query: What it compares them with.
        vectors: Those of the scorer's representations that the documents have.
    """

    scorer: Scorer
    query: Query
    vectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Find `limit` documents: all of them ordered, or those that `prefetch` found ordered again."""

    order: Nearest | NearCentroids | Scored | Fusion
    limit: int
    prefetch: tuple["Plan", ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Retriever(Method):
    """Plans the search of one collection."""

    @property
    @abstractmethod
    def vectors(self) -> tuple[str, ...]:
        """The index vectors that it searches, as `encoder.head`."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """The query representations that it can use, as `encoder.head`."""

    @abstractmethod
    def plan(self, query: Query, limit: int) -> Plan | None:
        """How to find the `limit` best; None where the query has nothing that it can use."""


@dataclass(frozen=True, kw_only=True)
class VectorRetriever(Retriever):
    """Searches one index vector.

    Attributes:
        vector: The index vector that is searched, as `encoder.head`.
        query: The query representations to use, as `encoder.head`; all must be in the space of
            `vector`. By default `vector` itself.
    """

    vector: str
    query: tuple[str, ...] = ()

    @property
    def vectors(self) -> tuple[str, ...]:
        return (self.vector,)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.query or (self.vector,)

    def asked(self, query: Query) -> list[np.ndarray]:
        """Those of the representations that the query has."""
        there = (query.representations.get(name) for name in self.needs)
        return [part for part in there if isinstance(part, np.ndarray) and len(part)]


@dataclass(frozen=True, kw_only=True)
class FusedRetriever(Retriever):
    """Asks several retrievers and fuses their rankings.

    Attributes:
        retrievers: Whose rankings are fused; those to which a query gives nothing are left out.
        depth: How many documents each retriever gives, at least; never fewer than are asked for.
    """

    retrievers: tuple[Retriever, ...]
    depth: int = 100

    def __post_init__(self) -> None:
        if not self.retrievers:
            raise ValueError("retrievers must name at least one")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")

    @abstractmethod
    def fusion(self, there: Sequence[int]) -> Fusion:
        """How the rankings of these of the retrievers, by their places, are fused."""

    @property
    def vectors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.retrievers for name in part.vectors))

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.retrievers for name in part.needs))

    @final
    def plan(self, query: Query, limit: int) -> Plan | None:
        depth = max(limit, self.depth)
        plans = [part.plan(query, depth) for part in self.retrievers]
        there = [number for number, plan in enumerate(plans) if plan]
        return fused([plan for plan in plans if plan], self.fusion(there), limit)


def fused(plans: Sequence[Plan], fusion: Fusion, limit: int) -> Plan | None:
    """The fusion of plans; None of none. One plan stays as it is: its own scores say more."""
    if not plans:
        return None
    if len(plans) == 1:
        return replace(plans[0], limit=limit)
    return Plan(fusion, limit, tuple(plans))
