"""LLaVA-PruMerge keeps the tokens that stand out to the image's summary, and merges the others in.

How many stand out is told by the image: those whose attention is an outlier above the others'. Each
takes in its most similar neighbours, weighted by their attention, and all that is left becomes one
token more.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from tamis.models.blocks.similarity import cosine
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("PruMerge",)

FENCE = 1.5  # interquartile ranges above the third quartile: Tukey's outliers


@dataclass(frozen=True, kw_only=True)
class PruMerge(VisualRefiner):
    """Outliers of the attention, each with its neighbours added, and one token for the rest.

    As in the authors' code, neighbours are added with their attention as weight, not averaged, and
    may be kept tokens themselves.

    Attributes:
        adaptive: Whether fewer than the budget are kept where fewer stand out.
        neighbours: How many tokens each kept one takes in.
    """

    paper: ClassVar = Paper(
        "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models",
        2024,
        "https://arxiv.org/abs/2403.15388",
    )
    checked: ClassVar = "golden data of the authors' code"
    departs: ClassVar = (
        "attention is the encoder's own, where the authors recompute it over all heads at once; "
        "how many stand out is told by one image, not by its batch"
    )

    adaptive: bool = True
    neighbours: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 0:
            raise ValueError(f"neighbours must be at least 0, not {self.neighbours}")

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        kept = self.order(tokens)
        if self.budget == 1:
            return KeepPlan.of_selected(kept)  # no place for the rest
        metric = tokens.embeddings if tokens.keys is None else tokens.keys
        likeness = cosine(metric[kept], metric)
        likeness[np.arange(len(kept)), kept] = -np.inf
        most = min(self.neighbours, len(tokens) - 1)
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
        rest = np.setdiff1d(np.arange(len(tokens)), kept)
        extra = rest[tokens.attention[rest].argmax()]  # the place that the rest is given
        owners = np.concatenate([kept, np.repeat(kept, near.shape[1]), np.full(len(rest), extra)])
        columns = np.concatenate([kept, near.ravel(), rest])
        weights = tokens.attention[columns].astype(np.float32)
        weights[: len(kept)] = 1
        places, rows = np.unique(owners, return_inverse=True)
        return KeepPlan(places, rows, columns, weights)

    def order(self, tokens: VisualTokens) -> Int[np.ndarray, " kept"]:
        """The tokens that are kept by themselves, those with most attention first."""
        most = max(1, self.budget - 1)
        if self.adaptive:
            low, high = np.percentile(tokens.attention, [25, 75])
            outliers = int((tokens.attention > high + FENCE * (high - low)).sum())
            most = max(1, min(most, outliers))
        return top_k(tokens.attention, most)
