"""Token Merging joins the tokens that are most alike, two by two, until the budget is met.

Every other token looks for its nearest one among the rest; the closest pairs become their means.
What a token stands for is counted, so that a mean of means is the mean of all.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.blocks.similarity import cosine
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("ToMe",)


@dataclass(frozen=True, kw_only=True)
class ToMe(VisualRefiner):
    """Bipartite soft matching, in as many rounds as it takes: one halves the tokens at most."""

    paper: ClassVar = Paper(
        "Token Merging: Your ViT But Faster", 2022, "https://arxiv.org/abs/2210.09461"
    )
    checked: ClassVar = "the rule in plain Python; the mean of all tokens is kept"
    departs: ClassVar = (
        "applied to the encoder's output instead of within each of its layers; likeness is that of "
        "the embeddings where the encoder gives no keys"
    )

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        metric = np.array(tokens.embeddings if tokens.keys is None else tokens.keys, np.float32)
        groups = np.arange(len(tokens))  # the token that stands for each
        left, sizes = groups, np.ones(len(tokens), dtype=np.float32)
        while len(left) > self.budget:
            seek, stay = left[::2], left[1::2]
            likeness = cosine(metric[seek], metric[stay])
            merged = top_k(likeness.max(axis=1), min(len(left) - self.budget, len(stay)))
            owner = np.arange(len(tokens))
            owner[seek[merged]] = stay[likeness[merged].argmax(axis=1)]
            total = np.zeros_like(metric)
            np.add.at(total, owner[left], metric[left] * sizes[left, None])
            counts = np.bincount(owner[left], sizes[left], len(tokens)).astype(np.float32)
            left = np.setdiff1d(left, seek[merged])
            metric[left] = total[left] / counts[left, None]
            sizes, groups = counts, owner[groups]
        return KeepPlan.of_groups(groups, 1 / sizes[groups])
