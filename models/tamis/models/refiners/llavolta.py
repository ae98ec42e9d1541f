"""LLaVolta's visual context compressor averages runs of neighbouring tokens.

The runs follow the raster order, over the ends of the rows. In the paper the compressor sits in the
language model, during training mostly; here it is at the projector, before the first layer.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("LLaVolta",)


@dataclass(frozen=True, kw_only=True)
class LLaVolta(VisualRefiner):
    """The mean of every `stride` tokens, the stride being the smallest that meets the budget."""

    paper: ClassVar = Paper(
        "Efficient Large Multi-modal Models via Visual Context Compression",
        2024,
        "https://arxiv.org/abs/2406.20092",
    )
    checked: ClassVar = "torch's avg_pool1d"
    departs: ClassVar = (
        "the budget gives the stride; a last run that is shorter is averaged too, and a place is "
        "that of a run's middle token"
    )

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        return KeepPlan.of_runs(len(tokens), -(-len(tokens) // self.budget))
