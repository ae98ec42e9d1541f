"""What this process remembers: the entries used last, bounded in bytes."""

from collections import OrderedDict
from typing import Generic, TypeVar

from tamis.server.cache import TierStats

V = TypeVar("V")

# What an entry costs beside its key and payload: two places in the table, a mapping and three
# array objects. Measured with tracemalloc; see tests/server/cache/test_local.py.
OVERHEAD_BYTES = 1_400


class LocalTier(Generic[V]):
    """A least-recently-used map of at most `max_bytes` bytes; 0 keeps nothing.

    Every operation but `purge` takes constant time. For one event loop: it is not thread-safe.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def max_bytes(self) -> int:
        """How much it may hold; 0 means that it is turned off."""
        return self._max_bytes

    def get(self, key: str) -> V | None:
        """What is kept under the key, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return entry[0]

    def holds(self, key: str) -> bool:
        """Whether something is kept under the key; no look-up, and not counted."""
        return key in self._entries

    def put(self, key: str, value: V, payload_bytes: int) -> None:
        """Keeps the value, at the cost of those used longest ago.

        One that is larger than the whole cache is not kept; what it replaces goes all the same.
        """
        self.discard(key)
        size = len(key) + payload_bytes + OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        while self._bytes + size > self._max_bytes:
            self.discard(next(iter(self._entries)))
        self._entries[key] = (value, size)
        self._bytes += size

    def purge(self, prefix: str) -> int:
        """Forgets every key that begins so; returns how many there were."""
        keys = [key for key in self._entries if key.startswith(prefix)]
        for key in keys:
            self.discard(key)
        return len(keys)

    def stats(self) -> TierStats:
        """What it did so far."""
        return TierStats("local", self._hits, self._misses, 0, self._bytes)

    def discard(self, key: str) -> None:
        """Forgets what is kept under the key."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]
