"""KeyDiff keeps the tokens whose keys are unlike the others': they carry what is not said twice."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import unit
from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("KeyDiff",)


@dataclass(frozen=True, kw_only=True)
class KeyDiff(KVRefiner):
    """Minus the cosine of a key and the mean of all keys' directions. Needs no question."""

    paper: ClassVar = Paper(
        "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in "
        "Resource-Constrained Environments",
        2025,
        "https://arxiv.org/abs/2504.15364",
    )
    checked: ClassVar = "golden data of kvpress"

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        directions = unit(layer.keys)
        middle = unit(directions.mean(axis=1, keepdims=True))
        return -np.vecdot(directions, middle)
