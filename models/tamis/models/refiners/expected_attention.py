"""Expected attention keeps the tokens that questions to come are likely to attend to.

Queries are taken to be normally distributed. Their mean and covariance are those of the context's
own queries, moved to the positions after it; what a key receives from such queries follows.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.rotary import mean_rotation
from tamis.models.kv import LayerCache, softmax
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("ExpectedAttention",)


@dataclass(frozen=True, kw_only=True)
class ExpectedAttention(KVRefiner):
    """The mean attention of future queries, times the length of the value that it would bring.

    Attributes:
        future: Positions after the context over which the rotation is averaged.
        sinks: Tokens at the beginning that are always kept, and left out of the statistics.
        covariance: Whether the queries' spread counts, or their mean alone.
        value_norm: Whether the values' lengths count.
        epsilon: Added to the attention before it is multiplied.
    """

    paper: ClassVar = Paper(
        "Expected Attention: KV Cache Compression by Estimating Attention from Future Queries "
        "Distribution",
        2025,
        "https://arxiv.org/abs/2510.00636",
    )
    checked: ClassVar = "golden data of kvpress"

    future: int = 512
    sinks: int = 4
    covariance: bool = True
    value_norm: bool = True
    epsilon: float = 0.0

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        sinks, count, dim = min(self.sinks, len(layer) - 1), len(layer), layer.keys.shape[-1]
        queries = layer.queries[:, sinks:]
        mean = queries.mean(axis=1)
        turn = mean_rotation(np.arange(count, count + self.future), layer.inverse_frequencies)
        keys = np.repeat(layer.keys[:, sinks:], len(queries) // len(layer.keys), axis=0)
        logits = np.vecdot(keys, (mean @ turn.T)[:, None]) / np.sqrt(dim)
        if self.covariance:
            spread = queries - mean[:, None]
            matrix = turn @ (spread.transpose(0, 2, 1) @ spread / queries.shape[1]) @ turn.T
            logits += np.vecdot(keys @ matrix, keys) / dim / 2
        scores = layer.over_groups(softmax(logits))
        if self.value_norm:
            scores = (scores + self.epsilon) * np.linalg.norm(layer.values[:, sinks:], axis=-1)
        return np.pad(scores, ((0, 0), (sinks, 0)), constant_values=scores.max() + 1)
