"""DivPrune keeps the visual tokens that are most unlike one another.

Pruning is posed as the max-min diversity problem: choose the subset whose closest pair is as far
apart as possible. Solved greedily, as in the paper: one matrix of distances, then a pass over the
tokens for each that is kept.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from tamis.models.blocks.similarity import cosine_within
from tamis.models.refiners import SelectRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("DivPrune",)


@dataclass(frozen=True, kw_only=True)
class DivPrune(SelectRefiner):
    """Farthest-point selection under cosine distance; ties go to the first token."""

    paper: ClassVar = Paper(
        "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models",
        2025,
        "https://arxiv.org/abs/2503.02175",
    )
    checked: ClassVar = "golden data of the authors' code; within its bound of the best subset"

    def select(self, tokens: VisualTokens) -> Int[np.ndarray, " budget"]:
        distance = cosine_within(tokens.embeddings)
        np.subtract(1, distance, out=distance)
        np.fill_diagonal(distance, np.inf)
        kept = np.empty(self.budget, dtype=np.int64)
        kept[0] = distance.min(axis=1).argmax()  # the token farthest from its nearest neighbour
        nearest = distance[kept[0]].copy()
        nearest[kept[0]] = -np.inf
        for i in range(1, self.budget):
            kept[i] = nearest.argmax()
            np.minimum(nearest, distance[kept[i]], out=nearest)
            nearest[kept[i]] = -np.inf
        return kept
