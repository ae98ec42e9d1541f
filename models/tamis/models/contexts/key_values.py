"""A compressed key-value cache, and how it moves to other positions.

A cache that kept n of T tokens goes on at position T. What counts positions by the slots of a
cache, as vLLM and LMCache do, and transformers with a plain cache, goes on at n instead, and every
distance is wrong by T - n. Attention sees distances only, so that turning all keys back by T - n
makes going on at n exactly what going on at T was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.rotary import rotate
from tamis.models.errors import InputError
from tamis.models.kv import LayerCache, gathered
from tamis.models.refiners import KVRefiner


class PositionMode(StrEnum):
    """Where the keys are turned to."""

    ORIGINAL = "original"  # where each token stood; the next one stands at T
    SHIFTED = "shifted"  # all back by T - n, at the same distances; the next one stands at n
    PACKED = "packed"  # each head's tokens side by side from 0: closer than the model read them


@dataclass(frozen=True, slots=True)
class KeptLayer:
    """What is left of one attention layer.

    Attributes:
        keys: After their rotation.
        values: As they are.
        positions: Where each token of each head stood before anything moved, rising.
        inverse_frequencies: Of the rotation.
        window: A token sees so many, itself included; 0 for all before it.
    """

    keys: Float[np.ndarray, "kv_heads kept dim"]
    values: Float[np.ndarray, "kv_heads kept dim"]
    positions: Int[np.ndarray, "kv_heads kept"]
    inverse_frequencies: Float[np.ndarray, " half"]
    window: int = 0

    def __len__(self) -> int:
        return self.keys.shape[1]

    def moved(self, places: Int[np.ndarray, "kv_heads kept"]) -> "KeptLayer":
        """The layer with its keys, which stand at `positions`, turned to `places`."""
        turned = [
            rotate(keys, by, self.inverse_frequencies)
            for keys, by in zip(self.keys, places - self.positions, strict=True)
        ]
        return replace(self, keys=np.stack(turned))


@dataclass(frozen=True, slots=True)
class KeyValues:
    """A key-value cache of one context.

    Attributes:
        layers: Those that see everything hold equally many tokens; one with a window holds the
            last tokens that the next one sees.
        tokens: How many were read, T.
        mode: Where the keys are turned to.

    Raises:
        ValueError: The layers do not fit each other or `tokens`.
    """

    layers: tuple[KeptLayer, ...]
    tokens: int
    mode: PositionMode = PositionMode.ORIGINAL

    def __post_init__(self) -> None:
        whole = {len(layer) for layer in self.layers if not layer.window}
        if not self.layers or len(whole) > 1 or not all(0 < n <= self.tokens for n in whole):
            raise ValueError(f"layers of {sorted(whole)} tokens, of {self.tokens} that were read")
        for number, layer in enumerate(self.layers):
            wanted = min(self.tokens, layer.window - 1)
            if layer.window and (layer.window < 2 or len(layer) != wanted):
                raise ValueError(
                    f"layer {number}: {len(layer)} tokens for a window of {layer.window}"
                )
            if layer.positions.min() < 0 or layer.positions.max() >= self.tokens:
                raise ValueError(f"layer {number}: positions are not from 0 to {self.tokens - 1}")

    @property
    def kept(self) -> int:
        """How many tokens a layer that sees everything holds, n."""
        return next((len(layer) for layer in self.layers if not layer.window), self.tokens)

    @property
    def next_position(self) -> int:
        """Where the next token stands."""
        return self.tokens if self.mode is PositionMode.ORIGINAL else self.kept

    def shifted(self) -> "KeyValues":
        """All keys back by T - n: the same to whatever goes on at n.

        Raises:
            InputError: It was moved before, or a window is wider than what would be left before n.
        """
        self._movable()
        by = self.kept - self.tokens
        layers = tuple(layer.moved(layer.positions + by) for layer in self.layers)
        return KeyValues(layers, self.tokens, PositionMode.SHIFTED)

    def packed(self) -> "KeyValues":
        """Each head's tokens at 0, 1, ... n - 1. Distances change, which is an approximation.

        Raises:
            InputError: As for `shifted`.
        """
        self._movable()
        layers = tuple(
            layer.moved(
                np.broadcast_to(np.arange(self.kept - len(layer), self.kept), layer.positions.shape)
            )
            for layer in self.layers
        )
        return KeyValues(layers, self.tokens, PositionMode.PACKED)

    def _movable(self) -> None:
        if self.mode is not PositionMode.ORIGINAL:
            raise InputError(f"a cache in {self.mode} positions cannot be moved again")
        for number, layer in enumerate(self.layers):
            if len(layer) > self.kept:
                raise InputError(
                    f"layer {number} has a window with {len(layer)} tokens in it, and {self.kept} "
                    "are kept elsewhere: such a cache goes on in original positions only"
                )


def compressed(
    layers: Sequence[LayerCache | KeptLayer], tokens: int, press: KVRefiner
) -> KeyValues:
    """What a press leaves of a prefill of `tokens` tokens; layers with a window stay whole."""
    return KeyValues(tuple(_kept(layer, press) for layer in layers), tokens)


def _kept(layer: LayerCache | KeptLayer, press: KVRefiner) -> KeptLayer:
    if isinstance(layer, KeptLayer):
        return layer
    kept = press.select(layer)
    keys, values = gathered(layer.keys, kept), gathered(layer.values, kept)
    return KeptLayer(keys, values, kept, layer.inverse_frequencies)
