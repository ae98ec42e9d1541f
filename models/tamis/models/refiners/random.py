"""Keeps visual tokens at random: a method that cannot beat this has learned nothing.

The draw is seeded by the tokens themselves, so that one image is always refined to the same
tokens, and a cache may keep them.
"""

import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from tamis.models.refiners import SelectRefiner
from tamis.models.types import VisualTokens

__all__ = ("Random",)


@dataclass(frozen=True, kw_only=True)
class Random(SelectRefiner):
    """Every subset of `budget` tokens is equally likely.

    Attributes:
        seed: Another one draws other tokens.
    """

    checked: ClassVar = "a property: each token is kept equally often"

    seed: int = 0

    def select(self, tokens: VisualTokens) -> Int[np.ndarray, " budget"]:
        content = zlib.crc32(tokens.embeddings.tobytes())
        rng = np.random.default_rng([self.seed, content])
        return rng.choice(len(tokens), self.budget, replace=False)
