"""SnapKV keeps what the last tokens of a prompt attend to: they know what will be asked."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner
from tamis.models.types import Paper

__all__ = ("SnapKV",)


@dataclass(frozen=True, kw_only=True)
class SnapKV(KVRefiner):
    """The attention of an observation window, smoothed over neighbours; the window itself stays.

    The window must hold the question: the cache serves no other one.

    Attributes:
        window: Tokens at the end whose attention is looked at.
        kernel: Neighbours over which a token's attention is averaged; odd.
    """

    paper: ClassVar = Paper(
        "SnapKV: LLM Knows What You are Looking for Before Generation",
        2024,
        "https://arxiv.org/abs/2404.14469",
    )
    checked: ClassVar = "golden data of kvpress"

    window: int = 64
    kernel: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise ValueError(f"window must be at least 1 token, not {self.window}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, not {self.kernel}")

    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        window = min(self.window, len(layer) - 1)
        seen = layer.attention(window)[:, :, : len(layer) - window].mean(axis=1)
        side = self.kernel // 2  # beyond the ends there is no attention, which counts as 0
        smooth = sliding_window_view(np.pad(seen, ((0, 0), (side, side))), self.kernel, axis=1)
        scores = layer.over_groups(smooth.mean(axis=-1))
        return np.pad(scores, ((0, 0), (0, window)), constant_values=scores.max(initial=0) + 1)
