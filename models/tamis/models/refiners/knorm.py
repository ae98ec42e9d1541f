"""Keys of a small norm are attended to most: those of a large one are dropped from the cache."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("Knorm",)


@dataclass(frozen=True, kw_only=True)
class Knorm(KVRefiner):
    """Minus the length of a token's key. No question is needed, so the cache serves any."""

    paper: ClassVar = Paper(
        "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression",
        2024,
        "https://arxiv.org/abs/2406.11430",
    )
    checked: ClassVar = "golden data of kvpress"

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        return -np.linalg.norm(layer.keys, axis=-1)
