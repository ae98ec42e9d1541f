"""Hybrid search asks several retrievers and fuses their rankings by reciprocal rank.

Ranks need no common scale, so lexical, dense and late-interaction searches fuse as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.retrievers import FusedRetriever, Fusion, ReciprocalRanks
from tamis.models.types import Paper

__all__ = ("Hybrid",)


@dataclass(frozen=True, kw_only=True)
class Hybrid(FusedRetriever):
    """Documents by the sum of 1 / (k + rank) over the retrievers that find them.

    Attributes:
        k: How little the first ranks stand out.
    """

    paper: ClassVar = Paper(
        "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
        2009,
        "https://doi.org/10.1145/1571941.1572114",
    )
    checked: ClassVar = "the formula, on the embedded engine and on Qdrant's local mode"

    k: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def fusion(self, there: Sequence[int]) -> Fusion:
        return ReciprocalRanks(self.k)
