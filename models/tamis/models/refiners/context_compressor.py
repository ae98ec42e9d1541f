"""LLaVolta's visual context compressor, inside the language model: runs of tokens are averaged."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Seen
from tamis.models.types import Paper

__all__ = ("ContextCompressor",)


@dataclass(frozen=True, kw_only=True)
class ContextCompressor(LayerRefiner):
    """Averages every `stride` tokens, states and positions alike, before one layer.

    The paper's heavy scheme is layer 2 and stride 8, its light one layer 16 and stride 8; its
    four-stage scheme compresses while it trains and not at all when it serves.

    Attributes:
        layer: Before which the tokens are averaged.
        stride: How many become one.
    """

    paper: ClassVar = Paper(
        "Efficient Large Multi-modal Models via Visual Context Compression",
        2024,
        "https://arxiv.org/abs/2406.20092",
    )
    checked: ClassVar = "torch's avg_pool1d"
    departs: ClassVar = (
        "a last run that is shorter is averaged too; positions are averaged in double precision, "
        "where the authors' half precision is wrong beyond 2,048"
    )

    layer: int = 2
    stride: int = 8

    def __post_init__(self) -> None:
        if self.layer < 1 or self.stride < 1:
            raise ValueError("layer and stride must be at least 1")

    @property
    def layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        return KeepPlan.of_runs(len(seen.left), self.stride)
