"""MustDrop's later stages drop the tokens that no word looks at, alone or together.

In the prefill a token goes where both the sum and the maximum of what the words give it are small,
unless it is one of the image's key tokens; what is gone at the end goes from the cache of the
earlier layers too.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import LayerRefiner, Rows, Seen
from tamis.models.types import Paper

__all__ = ("MustDropPrefill",)


@dataclass(frozen=True, kw_only=True)
class MustDropPrefill(LayerRefiner):
    """A dual threshold on the words' attention, and a set of tokens that must stay.

    Attributes:
        at: The layers before which tokens go.
        total: The share of all attention to the image below which a token's own is small.
        single: The attention of one word below which it is small.
        key_share: The share of the image's tokens, those with most attention in the vision tower,
            that always stay.
    """

    paper: ClassVar = Paper(
        "Multi-Stage Vision Token Dropping: Towards Efficient Multimodal Large Language Model",
        2024,
        "https://arxiv.org/abs/2411.10803",
    )
    checked: ClassVar = "golden data of the authors' code"
    departs: ClassVar = "tokens keep the positions that they had, where the authors renumber them"
    rows: ClassVar = Rows.TEXT
    trims: ClassVar = True

    at: tuple[int, ...] = (3, 7, 11, 15)
    total: float = 0.001
    single: float = 0.001
    key_share: float = 0.08

    def __post_init__(self) -> None:
        if not self.at or min(self.at) < 1 or list(self.at) != sorted({*self.at}):
            raise ValueError(f"at must rise from at least 1, not {list(self.at)}")
        if self.total < 0 or self.single < 0:
            raise ValueError("total and single must be at least 0")
        if not 0 <= self.key_share <= 1:
            raise ValueError(f"key_share must be from 0 to 1, not {self.key_share}")

    @property
    def layers(self) -> tuple[int, ...]:
        return self.at

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        wanted = survivors(seen.attention, total=self.total, single=self.single)
        must = np.isin(seen.left, self.keys(seen.image.attention))
        return KeepPlan.of_selected(np.union1d(wanted, np.flatnonzero(must)))

    def keys(self, attention: Float[np.ndarray, " tokens"]) -> Int[np.ndarray, " keys"]:
        """The tokens that always stay, those with most attention first."""
        return top_k(attention, math.ceil(self.key_share * len(attention)))


def survivors(
    attention: Float[np.ndarray, "rows left"], *, total: float, single: float
) -> Int[np.ndarray, " kept"]:
    """The tokens that some word, or all together, look at enough."""
    together = attention.sum(axis=0)
    small = together < total * together.sum()
    return np.flatnonzero(~(small & (attention.max(axis=0, initial=0) < single)))
