"""Hybrid search asks several retrievers and fuses their rankings by reciprocal rank.

Ranks need no common scale, so lexical, dense and late-interaction searches fuse as they are.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from tamis.models.retrievers import Plan, ReciprocalRanks, Retriever
from tamis.models.types import Paper, Query

__all__ = ("Hybrid",)


@dataclass(frozen=True, kw_only=True)
class Hybrid(Retriever):
    """Documents by the sum of 1 / (k + rank) over the retrievers that find them.

    Attributes:
        retrievers: Whose rankings are fused; those to which a query gives nothing are left out.
        k: How little the first ranks stand out.
        depth: How many documents each retriever gives, at least; never fewer than are asked for.
    """

    paper: ClassVar = Paper(
        "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
        2009,
        "https://doi.org/10.1145/1571941.1572114",
    )
    checked: ClassVar = "the shape of the plan: the index engine fuses"

    retrievers: tuple[Retriever, ...]
    k: int = 60
    depth: int = 100

    def __post_init__(self) -> None:
        if not self.retrievers:
            raise ValueError("retrievers must name at least one")
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")

    @property
    def vectors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.retrievers for name in part.vectors))

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.retrievers for name in part.needs))

    def plan(self, query: Query, limit: int) -> Plan | None:
        depth = max(limit, self.depth)
        plans = [plan for part in self.retrievers if (plan := part.plan(query, depth))]
        if not plans:
            return None
        if len(plans) == 1:  # a fusion of one would only lose its scores
            return replace(plans[0], limit=limit)
        return Plan(ReciprocalRanks(self.k), limit, tuple(plans))
