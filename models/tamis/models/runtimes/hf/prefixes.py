"""Keeps the attention state of prefixes, so that a document is read once for many queries."""

import copy
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from transformers import DynamicCache


@dataclass
class Prefixes:
    """The states that were used last, bounded in bytes. Several threads may use it at once.

    Attributes:
        max_bytes: What is kept at most; 0 keeps nothing.
    """

    max_bytes: int
    _states: OrderedDict[Hashable, DynamicCache] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: Hashable) -> DynamicCache | None:
        """The state of a prefix; not to be continued without `copies`."""
        with self._lock:
            if key in self._states:
                self._states.move_to_end(key)
            return self._states.get(key)

    def put(self, key: Hashable, state: DynamicCache) -> None:
        """Keeps a state; the ones that were not used for longest go."""
        with self._lock:
            if key in self._states or size(state) > self.max_bytes:
                return
            self._states[key] = state
            self._bytes += size(state)
            while self._bytes > self.max_bytes:
                _, old = self._states.popitem(last=False)
                self._bytes -= size(old)


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
