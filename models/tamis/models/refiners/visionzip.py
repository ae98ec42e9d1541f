"""VisionZip keeps the tokens that the image's summary attends to, and sums up the others.

The dominant tokens carry most of the attention of [CLS]. Of the rest a few, evenly spread, each
take in those that are most like them, so that what is not dominant is not lost.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.blocks.similarity import cosine
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("VisionZip",)


@dataclass(frozen=True, kw_only=True)
class VisionZip(VisualRefiner):
    """Dominant tokens unchanged, and contextual ones that are sums.

    A contextual token is itself plus the mean of those that it takes in: as published, a sum of
    two and not an average.

    Attributes:
        contextual: The share of the budget that is contextual; the paper's 64 are 54 + 10.
    """

    paper: ClassVar = Paper(
        "VisionZip: Longer is Better but Not Necessary in Vision Language Models",
        2024,
        "https://arxiv.org/abs/2412.04467",
    )
    checked: ClassVar = "golden data of the authors' code"
    departs: ClassVar = (
        "[CLS] itself is not among the tokens; likeness is that of the embeddings where the "
        "encoder gives no keys"
    )

    contextual: float = 10 / 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.contextual < 1:
            raise ValueError(f"contextual must be from 0 to below 1, not {self.contextual}")

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        contextual = round(self.contextual * self.budget)
        groups = np.full(len(tokens), -1)
        weights = np.ones(len(tokens), dtype=np.float32)
        dominant = top_k(tokens.attention, self.budget - contextual)
        groups[dominant] = dominant
        rest = np.flatnonzero(groups < 0)
        if contextual:
            step = max(1, len(rest) // contextual)
            seeds = rest[::step][:contextual]
            others = np.setdiff1d(rest, seeds)
            metric = tokens.embeddings if tokens.keys is None else tokens.keys
            nearest = cosine(metric[others], metric[seeds]).argmax(axis=1)
            groups[seeds], groups[others] = seeds, seeds[nearest]
            weights[others] = 1 / np.bincount(nearest, minlength=len(seeds))[nearest]
        return KeepPlan.of_groups(groups, weights)
