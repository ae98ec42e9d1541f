"""SparseVLM lets the words that look at the image say which of its tokens matter.

Not every text token is a judge: those that attend to the image more than the average are.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Rows, Seen
from tamis.models.types import Paper

__all__ = ("SparseVLM",)


@dataclass(frozen=True, kw_only=True)
class SparseVLM(LayerRefiner):
    """Ranks by the attention of the raters, at three layers.

    Attributes:
        at: The layers before which tokens go.
        budgets: How many stay at each of them.
    """

    paper: ClassVar = Paper(
        "SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference",
        2024,
        "https://arxiv.org/abs/2410.04417",
    )
    checked: ClassVar = "the ranking by hand; built from the paper"
    departs: ClassVar = (
        "raters are chosen by their attention to the image instead of by the likeness of their "
        "embeddings to it; how many stay is a setting, not the rank of the attention matrix; what "
        "goes is not recycled into new tokens"
    )
    rows: ClassVar = Rows.TEXT

    at: tuple[int, ...] = (2, 6, 15)
    budgets: tuple[int, ...] = (300, 200, 110)

    def __post_init__(self) -> None:
        if len(self.at) != len(self.budgets) or not self.at or min(self.at) < 1:
            raise ValueError("at and budgets must be as many, and layers at least 1")
        if list(self.at) != sorted({*self.at}) or min(self.budgets) < 1:
            raise ValueError("layers must rise, and budgets be at least 1")

    @property
    def layers(self) -> tuple[int, ...]:
        return self.at

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        interest = seen.attention.sum(axis=1)
        raters = interest >= interest.mean()
        kept = min(self.budgets[self.at.index(layer)], len(seen.left))
        return KeepPlan.of_selected(top_k(seen.attention[raters].sum(axis=0), kept))
