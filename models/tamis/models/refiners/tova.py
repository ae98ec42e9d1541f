"""TOVA keeps what the latest token attends to, the same tokens for every head."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("TOVA",)


@dataclass(frozen=True, kw_only=True)
class TOVA(KVRefiner):
    """The last query's attention, averaged over all heads of the layer; itself it keeps."""

    paper: ClassVar = Paper(
        "Transformers are Multi-State RNNs", 2024, "https://arxiv.org/abs/2401.06104"
    )
    checked: ClassVar = "golden data of kvpress"
    departs: ClassVar = "tokens are dropped once, after the prefill, not at each step"

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        seen = layer.attention(1)[:, 0].mean(axis=0)
        seen[-1] = seen.max() + 1
        return np.tile(seen, (len(layer.keys), 1))
