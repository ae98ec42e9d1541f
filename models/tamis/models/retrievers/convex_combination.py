"""A convex combination fuses retrievers by their scores: scaled, weighted and added up.

Where a few judged queries can tell how much each retriever is to say, it does better than ranks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.retrievers import SCALES, FusedRetriever, Fusion, WeightedScores
from tamis.models.types import Paper

__all__ = ("ConvexCombination",)


@dataclass(frozen=True, kw_only=True)
class ConvexCombination(FusedRetriever):
    """Documents by the weighted sum of their scaled scores.

    The server fuses, as no index engine does; the retrievers are asked side by side.

    Attributes:
        weights: What each retriever has to say, in their order; all the same where none is given.
        scale: ``min_max`` or ``z_score``.
    """

    paper: ClassVar = Paper(
        "An Analysis of Fusion Functions for Hybrid Retrieval",
        2022,
        "https://arxiv.org/abs/2210.11934",
    )
    checked: ClassVar = "the formula, on the embedded engine and on Qdrant's local mode"
    departs: ClassVar = (
        "the least score is that of the ranking, not the least that a retriever could give; a "
        "document that a ranking lacks gets that"
    )

    weights: tuple[float, ...] = ()
    scale: str = "min_max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and len(self.weights) != len(self.retrievers):
            raise ValueError(
                f"weights must be as many as retrievers, {len(self.retrievers)}, "
                f"not {len(self.weights)}"
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in self.weights):
            raise ValueError(f"weights must be at least 0, not {list(self.weights)}")
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {self.scale!r}")

    def fusion(self, there: Sequence[int]) -> Fusion:
        weights = self.weights or (1 / len(self.retrievers),) * len(self.retrievers)
        return WeightedScores(tuple(weights[number] for number in there), self.scale)
