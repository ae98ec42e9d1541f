"""PyramidDrop halves the visual tokens again and again: the deeper a layer, the fewer it needs."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Seen
from tamis.models.types import Paper

__all__ = ("PyramidDrop",)


@dataclass(frozen=True, kw_only=True)
class PyramidDrop(LayerRefiner):
    """At the end of each stage keeps a share, by the last instruction token's attention.

    Attributes:
        stages: The layers before which a new stage begins.
        ratio: The share that stays at each of them.
    """

    paper: ClassVar = Paper(
        "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy "
        "Reduction",
        2024,
        "https://arxiv.org/abs/2410.17247",
    )
    checked: ClassVar = "the counts of each stage, and the ranking by hand; built from the paper"

    stages: tuple[int, ...] = (8, 16, 24)
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not self.stages or min(self.stages) < 1 or list(self.stages) != sorted({*self.stages}):
            raise ValueError(f"stages must rise from at least 1, not {list(self.stages)}")
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, not {self.ratio}")

    @property
    def layers(self) -> tuple[int, ...]:
        return self.stages

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        done = self.stages.index(layer) + 1
        kept = max(1, int(len(seen.image) * self.ratio**done))
        return KeepPlan.of_selected(top_k(seen.attention[0], kept))
