"""StreamingLLM keeps the first few tokens, which attention drains into, and the latest ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("StreamingLLM",)


@dataclass(frozen=True, kw_only=True)
class StreamingLLM(KVRefiner):
    """Attention sinks and a window: what lies between is gone. A baseline, blind to content.

    Attributes:
        sinks: Tokens at the beginning that are always kept.
    """

    paper: ClassVar = Paper(
        "Efficient Streaming Language Models with Attention Sinks",
        2023,
        "https://arxiv.org/abs/2309.17453",
    )
    checked: ClassVar = "golden data of kvpress"
    departs: ClassVar = "keys keep the positions that they were made at"

    sinks: int = 4

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        places = np.arange(len(layer), dtype=np.float32)
        places[: self.sinks] = len(layer)
        return np.tile(places, (len(layer.keys), 1))
