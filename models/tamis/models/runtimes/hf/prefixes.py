"""Attention states as transformers holds them: copied, cut and measured."""

import copy
from typing import Any

from transformers import DynamicCache


def copies(state: DynamicCache, rows: int) -> DynamicCache:
    """The state of one sequence for `rows` of them: a forward pass writes in what it continues."""
    fresh = copy.deepcopy(state)
    if rows > 1:
        fresh.batch_repeat_interleave(rows)
    return fresh


def first(state: DynamicCache, row: int, tokens: int) -> DynamicCache:
    """The state of a row's first tokens, by itself. Not of sliding windows: they forget."""
    layers: Any = state.layers
    return DynamicCache(
        [
            tuple(whole[row : row + 1, :, :tokens].clone() for whole in (layer.keys, layer.values))
            for layer in layers
        ]
    )


def size(state: DynamicCache) -> int:
    """The bytes of a state."""
    layers: Any = state.layers
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
