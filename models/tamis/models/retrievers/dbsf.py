"""Distribution-based score fusion puts each retriever's scores on one scale by their spread.

Qdrant's: three standard deviations about the mean become 0 to 1, and the scaled scores are added.
Unlike reciprocal ranks, it keeps how far one document is ahead of the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.retrievers import DistributionBased, FusedRetriever, Fusion

__all__ = ("Dbsf",)


@dataclass(frozen=True, kw_only=True)
class Dbsf(FusedRetriever):
    """Documents by the sum of their scaled scores over the retrievers that find them."""

    checked: ClassVar = "the formula, on the embedded engine and on Qdrant's local mode"

    def fusion(self, there: Sequence[int]) -> Fusion:
        return DistributionBased()
