"""FastV drops half of the visual tokens after the second layer: by then most has been read."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Seen
from tamis.models.types import Paper

__all__ = ("FastV",)


@dataclass(frozen=True, kw_only=True)
class FastV(LayerRefiner):
    """Keeps the tokens that the last token attended to most, at their own positions.

    Attributes:
        layer: Before which the tokens go.
        ratio: The share of them that goes.
        budget: How many stay, whatever the ratio; 0 to go by the ratio.
    """

    paper: ClassVar = Paper(
        "An Image is Worth 1/2 Tokens After Layer 2: Plug-and-Play Inference Acceleration for "
        "Large Vision-Language Models",
        2024,
        "https://arxiv.org/abs/2403.06764",
    )
    checked: ClassVar = "golden data of the authors' code, in a tiny Llama"

    layer: int = 2
    ratio: float = 0.5
    budget: int = 0

    def __post_init__(self) -> None:
        if self.layer < 1:
            raise ValueError(f"layer must be at least 1, not {self.layer}")
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must be from 0 to below 1, not {self.ratio}")
        if self.budget < 0:
            raise ValueError(f"budget must be at least 0, not {self.budget}")

    @property
    def layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        kept = self.budget or max(1, round(len(seen.left) * (1 - self.ratio)))
        return KeepPlan.of_selected(top_k(seen.attention[0], kept))
