"""Keeps the attention state of prefixes, so that a document is read once for many queries."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

S = TypeVar("S")


@dataclass
class Prefixes(Generic[S]):
    """The states that were used last, bounded in bytes. Several threads may use it at once.

    Attributes:
        max_bytes: What is kept at most; 0 keeps nothing.
        size: The bytes of a state.
    """

    max_bytes: int
    size: Callable[[S], int]
    _states: OrderedDict[Hashable, S] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: Hashable) -> S | None:
        """The state of a prefix, which is shared: whoever goes on from it copies it first."""
        with self._lock:
            if key in self._states:
                self._states.move_to_end(key)
            return self._states.get(key)

    def put(self, key: Hashable, state: S) -> None:
        """Keeps a state; the ones that were not used for longest go."""
        with self._lock:
            if key in self._states or self.size(state) > self.max_bytes:
                return
            self._states[key] = state
            self._bytes += self.size(state)
            while self._bytes > self.max_bytes:
                _, old = self._states.popitem(last=False)
                self._bytes -= self.size(old)
