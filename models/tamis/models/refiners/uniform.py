"""Keeps visual tokens at a uniform stride over the image, blind to what they show."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from tamis.models.refiners import SelectRefiner
from tamis.models.types import VisualTokens

__all__ = ("Uniform",)


@dataclass(frozen=True, kw_only=True)
class Uniform(SelectRefiner):
    """The middle token of each of `budget` equal stretches of the raster order."""

    checked: ClassVar = "a property: the gaps differ by at most one token"

    def select(self, tokens: VisualTokens) -> Int[np.ndarray, " budget"]:
        return (2 * np.arange(self.budget) + 1) * len(tokens) // (2 * self.budget)
