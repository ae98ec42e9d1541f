"""Token Merging joins the tokens that are most alike, two by two, until the budget is met.

Every other token looks for its nearest one among the rest; the closest pairs become their means.
A mean of means is the mean of all that they stand for.
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
        # Sums are kept in place of means: their cosines are the same.
        sums = np.array(tokens.embeddings if tokens.keys is None else tokens.keys, np.float32)
        left = groups = np.arange(len(tokens))  # `groups`: the token that stands for each
        while len(left) > self.budget:
            likeness = cosine(sums[::2], sums[1::2])
            most = min(len(left) - self.budget, likeness.shape[1])
            merged = top_k(likeness.max(axis=1), most)
            seek, stay = 2 * merged, 2 * likeness[merged].argmax(axis=1) + 1
            owners, rows = np.unique(stay, return_inverse=True)
            members = np.arange(len(owners))[:, None] == rows
            sums[owners] += members.astype(np.float32) @ sums[seek]
            owner = np.arange(len(tokens))
            owner[left[seek]] = left[stay]
            groups = owner[groups]
            left, sums = np.delete(left, seek), np.delete(sums, seek, axis=0)
        return KeepPlan.of_groups(groups, 1 / np.bincount(groups)[groups])
