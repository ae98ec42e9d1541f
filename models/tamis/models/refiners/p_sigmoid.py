"""P-Sigmoid meets a budget of visual tokens with shares that fall along a sigmoid of the depth.

The curve's shape is found once by Bayesian optimisation on a few examples, which
`python -m tamis.models.train.p_sigmoid` does; its place follows from the budget.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tamis.models.blocks.schedules import changes, sigmoid_rates
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Rows, Seen
from tamis.models.schedule_file import read
from tamis.models.types import Paper

__all__ = ("PSigmoid",)


@dataclass(frozen=True, kw_only=True)
class PSigmoid(LayerRefiner):
    """Keeps each layer's share, by what the words gave the tokens in the layer before.

    Attributes:
        depth: How many layers the language model has.
        budget: The mean share of the tokens over its layers.
        top: The share in the first layers, when the fall is deep in the model.
        bottom: The share in the last ones.
        steepness: Of the fall.
        schedule: A file of `tamis.models.schedule_file` whose shares are taken; the settings above
            count for nothing then.
    """

    paper: ClassVar = Paper(
        "Accelerating Multimodal Large Language Models by Searching Optimal Vision Token Reduction",
        2024,
        "https://arxiv.org/abs/2412.00556",
    )
    checked: ClassVar = "properties: the shares fall, and are the budget on average"
    departs: ClassVar = (
        "the paper's curve has other parameters, which no code shows; the first layer reads all "
        "tokens, whatever its share"
    )
    rows: ClassVar = Rows.TEXT

    depth: int = 32
    budget: float = 0.25
    top: float = 1.0
    bottom: float = 0.02
    steepness: float = 20.0
    schedule: str = ""

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise ValueError(f"depth must be at least 2 layers, not {self.depth}")
        if not 0 < self.bottom <= self.budget <= self.top <= 1:
            raise ValueError("needs 0 < bottom <= budget <= top <= 1")
        if self.steepness < 0:
            raise ValueError(f"steepness must be at least 0, not {self.steepness}")
        _ = self.rates  # a missing file is found now, not by a picture

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """The share of the image's tokens that each layer keeps."""
        if self.schedule:
            return read(self.schedule, "p_sigmoid").rates
        return sigmoid_rates(
            self.depth,
            self.budget,
            top=self.top,
            bottom=self.bottom,
            steepness=self.steepness,
        )

    @property
    def layers(self) -> tuple[int, ...]:
        return changes(self.rates)

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        kept = max(1, round(self.rates[layer] * len(seen.image)))
        return KeepPlan.of_selected(top_k(seen.attention.sum(axis=0), min(kept, len(seen.left))))
