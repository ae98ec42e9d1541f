"""Retrievers say how a collection is searched. They own no storage.

One file a method; a frozen dataclass, as in `encoders`. A retriever names the representations that
it searches and turns a query's representations into a `Plan`, a tree of small values that the
server translates for whichever index engine holds the collection.
"""

from abc import abstractmethod
from dataclasses import dataclass, field

from tamis.models.method import Method
from tamis.models.types import Query, Representation


@dataclass(frozen=True, slots=True)
class Nearest:
    """Order by closeness to `query` in the index `vector`, such as `minilm.dense`."""

    vector: str
    query: Representation
    exact: bool = False


@dataclass(frozen=True, slots=True)
class ReciprocalRanks:
    """Order by the sum of 1 / (k + rank) over the prefetched rankings."""

    k: int = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """Find `limit` documents: all of them ordered, or those that `prefetch` found ordered again."""

    order: Nearest | ReciprocalRanks
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
