"""G-Search finds, layer by layer, how few visual tokens a language model can do with.

Which tokens matter hardly changes with depth, but how many are needed falls: a schedule, found once
on a few examples, says how many each layer keeps: `python -m tamis.models.train.g_search` finds it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tamis.models.blocks.schedules import changes, check
from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Rows, Seen
from tamis.models.schedule_file import read
from tamis.models.types import Paper

__all__ = ("GSearch",)


@dataclass(frozen=True, kw_only=True)
class GSearch(LayerRefiner):
    """Keeps each layer's share, by what the words gave the tokens in the layer before.

    Attributes:
        rates: For each layer, the share of the image's tokens that it keeps; none rises.
        schedule: A file of `tamis.models.schedule_file` that says so, instead.
    """

    paper: ClassVar = Paper(
        "Accelerating Multimodal Large Language Models by Searching Optimal Vision Token Reduction",
        2024,
        "https://arxiv.org/abs/2412.00556",
    )
    checked: ClassVar = (
        "greedy equals exhaustive search where fewer tokens never help; built from the paper, for "
        "which no code was found"
    )
    departs: ClassVar = (
        "the first layer reads all tokens: attention in the layer before is what ranks them"
    )
    rows: ClassVar = Rows.TEXT

    rates: tuple[float, ...] = ()
    schedule: str = ""

    def __post_init__(self) -> None:
        if bool(self.rates) == bool(self.schedule):
            raise ValueError("needs either rates or a schedule")
        check(self.shares)  # a missing file is found now, not by a picture

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """The share of the image's tokens that each layer keeps."""
        return self.rates or read(self.schedule, "g_search").rates

    @property
    def layers(self) -> tuple[int, ...]:
        return changes(self.shares)

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        kept = max(1, round(self.shares[layer] * len(seen.image)))
        return KeepPlan.of_selected(top_k(seen.attention.sum(axis=0), min(kept, len(seen.left))))
