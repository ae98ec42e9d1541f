"""MustDrop's first stage merges windows of the image whose tokens say the same.

The grid is cut into small windows; where the tokens of one are alike, their mean stands for them.
What is beyond the budget then goes by the attention of [CLS], which is how MustDrop finds the key
tokens that its later stages, inside the language model, must not drop.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.similarity import unit
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("MustDrop",)


@dataclass(frozen=True, kw_only=True)
class MustDrop(VisualRefiner):
    """Means of windows, and what the summary attends to most.

    Attributes:
        similarity: The mean cosine of a window's tokens from which they are merged.
        window: Its side, in tokens; what does not fill a window at the grid's edge is left alone.
    """

    paper: ClassVar = Paper(
        "Multi-Stage Vision Token Dropping: Towards Efficient Multimodal Large Language Model",
        2024,
        "https://arxiv.org/abs/2411.10803",
    )
    checked: ClassVar = "golden data of the authors' code"
    departs: ClassVar = (
        "applied to the encoder's output instead of after its first layer, and followed by the key "
        "set's rule to meet the budget; an image's windows are merged by themselves, where the "
        "authors' code merges as many as the image of its batch with the fewest: results would "
        "depend on the batch"
    )

    similarity: float = 0.8
    window: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise ValueError(f"window must be at least 2 tokens wide, not {self.window}")

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        merged = self.merge(tokens)
        if len(merged) <= self.budget:
            return merged
        attention = merged.apply(tokens).attention
        return merged.then(KeepPlan.of_selected(top_k(attention, self.budget)))

    def merge(self, tokens: VisualTokens, most: int | None = None) -> KeepPlan:
        """The most alike windows merged, `most` of them; None for all that are alike enough."""
        windows = self.windows(tokens)
        likeness = window_similarity(tokens.embeddings, windows)
        alike = top_k(likeness, int((likeness >= self.similarity).sum()))[:most]
        groups, weights = np.arange(len(tokens)), np.ones(len(tokens), dtype=np.float32)
        for members in windows[alike]:
            groups[members], weights[members] = members[len(members) // 2], 1 / len(members)
        return KeepPlan.of_groups(groups, weights)

    def windows(self, tokens: VisualTokens) -> Int[np.ndarray, "windows members"]:
        """The indices of each window's tokens; windows and tokens in raster order."""
        rows, columns = tokens.grid
        side = self.window
        if len(tokens) != rows * columns:  # pruned before: there is no grid any more
            return np.empty((0, side * side), dtype=np.int64)
        places = np.arange(len(tokens)).reshape(rows, columns)
        down, across = rows // side, columns // side
        blocks = places[: down * side, : across * side].reshape(down, side, across, side)
        return blocks.transpose(0, 2, 1, 3).reshape(down * across, side * side)


def window_similarity(
    embeddings: Float[np.ndarray, "tokens dim"], windows: Int[np.ndarray, "windows members"]
) -> Float[np.ndarray, " windows"]:
    """The mean cosine of two different tokens of each window."""
    units = unit(embeddings.astype(np.float32, copy=False))[windows]
    cosines = units @ units.transpose(0, 2, 1)
    members = windows.shape[1]
    own = np.trace(cosines, axis1=1, axis2=2)
    total: Float[np.ndarray, " windows"] = cosines.sum(axis=(1, 2)) - own
    return total / (members * (members - 1))
