"""Values of megabytes in Redis: in chunks that share a slot, and a head that is written last.

A head is little-endian::

    "tamis" 0x00 version:u16 total:u64     what it is, and the value's bytes
    blake2b, 16 bytes                      of the value

A value of which a chunk is missing, or whose checksum is another, is a miss: chunks are evicted one
by one, and two processes may write under one key at once.
"""

import asyncio
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple, TypeVar

from redis.exceptions import ResponseError

from tamis.server.cache import ContextsUnavailableError, TierStats
from tamis.server.cache.keys import CONTEXT, VERSIONS
from tamis.server.cache.lease import Answer, Lease, answered, take
from tamis.server.cache.link import Link
from tamis.server.cache.settings import CacheSettings
from tamis.server.metrics import CacheMetrics

T = TypeVar("T")
V = TypeVar("V")

VERSION = VERSIONS[CONTEXT]
CHUNK_BYTES = 512 << 10
LARGE_BYTES = 256 << 10  # what takes longer to check than a thread takes to start
POLL_S = (0.004, 0.128)  # between two looks at what another process computes: first, and at most

_MAGIC = b"tamis\x00" + VERSION.to_bytes(2, "little")
_HEAD = struct.Struct("<8sQ16s")
_MOST_BYTES = 1 << 30  # what a head may promise: nobody asks for the chunks of nonsense
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Head:
    """What a value's chunks are, and what they come to.

    Attributes:
        total: Its bytes; each chunk but the last has `CHUNK_BYTES` of them.
        digest: Of the value.
    """

    total: int
    digest: bytes

    @classmethod
    def of(cls, data: bytes) -> "Head":
        """Of a value that is to be written."""
        return cls(len(data), _digest(data))

    @classmethod
    def read(cls, found: object) -> "Head | None":
        """What is under a key; None where that is nothing of ours, or of another version."""
        if not isinstance(found, bytes) or len(found) != _HEAD.size:
            return None
        magic, total, digest = _HEAD.unpack(found)
        return cls(total, digest) if magic == _MAGIC and total <= _MOST_BYTES else None

    def packed(self) -> bytes:
        """The head as it is written."""
        return _HEAD.pack(_MAGIC, self.total, self.digest)

    def names(self, key: str) -> list[str]:
        """The keys of the chunks."""
        return [chunk_key(key, at) for at in range(-(-self.total // CHUNK_BYTES))]

    def joined(self, chunks: Sequence[object]) -> bytes | None:
        """The value; None where a chunk is missing or another one's."""
        if not all(isinstance(chunk, bytes) for chunk in chunks):
            return None
        data = b"".join(chunks)  # type: ignore[arg-type]  # just seen
        return data if len(data) == self.total and _digest(data) == self.digest else None


def chunk_key(key: str, number: int) -> str:
    """The key of a chunk. A cluster hashes the head's key in it, so that all are on one node."""
    return f"tamis:chunk:{{{key}}}:{number}"


class _Found(NamedTuple):
    """A head and what there is of its chunks."""

    head: Head
    chunks: tuple[object, ...]


class ChunkTier:
    """Large values in Redis. A question waits at most `context_timeout_ms`.

    Its connections and its circuit breaker are its own: megabytes on their way hold up no query
    embedding.

    Args:
        settings: Its `redis_url` is not empty.
        metrics: Counts what it does.
        clock: For the breaker; in seconds.

    Raises:
        SettingsError: See `connect`.
    """

    def __init__(
        self,
        settings: CacheSettings,
        *,
        metrics: CacheMetrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        timeout_s = settings.context_timeout_ms / 1_000
        self.link = Link(settings, timeout_s=timeout_s, metrics=metrics, clock=clock)
        self._lease_s = settings.context_lease_ms / 1_000
        self._redis = self.link.redis
        self._metrics = metrics
        self._hits = self._misses = self._refused = 0

    async def read(self, key: str) -> bytes | None:
        """What is kept under a key, or None.

        Raises:
            ContextsUnavailableError: Redis does not answer.
        """
        answer = await self.link.ask(lambda: self._read(key))
        if answer is None:
            raise ContextsUnavailableError("Redis, which keeps the contexts, does not answer now")
        return self._counted(await self._value(key, answer.value))

    async def read_or_lease(self, key: str) -> tuple[bytes | None, Lease | None]:
        """What is kept under a key, or else the lease to compute it, which is to be released.

        Where another process has the lease, looks again and again for what it computes, until two
        leases have passed. Neither is given where that was in vain, or where Redis does not answer
        or takes no writes: then compute without.
        """
        answer = await answered(
            lambda: self.link.ask(lambda: self._read_or_take(key), late=self._give_back),
            lease_s=self._lease_s,
            poll_s=POLL_S,
        )
        if answer is None:
            return None, None
        return self._counted(await self._value(key, answer.value)), answer.lease

    async def write(self, key: str, data: bytes, ttl_s: int) -> None:
        """Keeps a value for so long from now; where it is there already, only that is said.

        Raises:
            ContextsUnavailableError: Redis does not answer, or refuses.
        """
        made = asyncio.to_thread if len(data) >= LARGE_BYTES else _at_once
        head = await made(Head.of, data)
        refusal = await self.link.ask(lambda: self._write(key, head, data, ttl_s))
        if refusal is None:
            raise ContextsUnavailableError("Redis, which keeps the contexts, does not answer now")
        if refusal:
            self._refused += 1
            self._metrics.error()
            raise ContextsUnavailableError(f"Redis, which keeps the contexts, refuses: {refusal}")

    def release(self, lease: Lease) -> None:
        """Gives a lease back, some time soon."""
        self.link.start(self._release(lease))

    async def purge(self, prefix: str) -> int:
        """Forgets every value whose key begins so; returns how many there were."""
        removed = await self.link.purge(prefix)
        await self.link.purge(f"tamis:chunk:{{{prefix}")
        return removed

    def stats(self) -> TierStats:
        """What it did so far."""
        errors = self.link.errors + self._refused
        misses = self._misses + self.link.skipped
        return TierStats("redis", self._hits, misses, errors, 0, "context")

    async def _read(self, key: str) -> Answer[_Found]:
        # Most are of one chunk: one round trip.
        found, first = await self._redis.mget(key, chunk_key(key, 0))
        head = Head.read(found)
        if head is None or (first is None and head.total):
            return Answer()
        rest = head.names(key)[1:]
        chunks = (first, *(await self._redis.mget(rest))) if rest else (first,)
        return Answer(_Found(head, chunks if head.total else ()))

    async def _read_or_take(self, key: str) -> Answer[_Found]:
        answer = await self._read(key)
        if answer.value is not None:
            return answer
        try:
            lease, found = await take(self._redis, key, self._lease_s)
        except ResponseError:  # full, read-only, not allowed: who misses it computes it
            return answer
        if Head.read(found) is None:
            return Answer(lease=lease, taken=lease is None)
        if lease is not None:
            self.release(lease)
        return await self._read(key)

    async def _write(self, key: str, head: Head, data: bytes, ttl_s: int) -> str:
        """Why Redis refuses; empty where it does not."""
        if await self._prolonged(key, head, ttl_s):
            return ""
        whole, names = memoryview(data), head.names(key)
        pipeline = self._redis.pipeline(transaction=False)
        for at, name in enumerate(names):
            chunk = whole[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]
            pipeline.set(name, bytes(chunk), ex=ttl_s)
        answers = await pipeline.execute(raise_on_error=False)
        refusals = [answer for answer in answers if isinstance(answer, ResponseError)]
        try:
            if not refusals:
                await self._redis.set(key, head.packed(), ex=ttl_s)
        except ResponseError as error:
            refusals.append(error)
        if refusals:
            await self._forget(key, *names)  # a full Redis need not hold half of it
        return str(refusals[0]) if refusals else ""

    async def _prolonged(self, key: str, head: Head, ttl_s: int) -> bool:
        """Whether all of this value is there already, which then stays for `ttl_s`."""
        if Head.read((await self._redis.mget(key))[0]) != head:
            return False
        pipeline = self._redis.pipeline(transaction=False)
        for name in [*head.names(key), key]:
            pipeline.expire(name, ttl_s)
        return all(answer is True or answer == 1 for answer in await pipeline.execute())

    async def _value(self, key: str, found: _Found | None) -> bytes | None:
        """What was found, where it is whole; else nobody shall take it for being there."""
        if found is None:
            return None
        large = found.head.total >= LARGE_BYTES
        joined = asyncio.to_thread if large else _at_once
        value = await joined(found.head.joined, found.chunks)
        if value is None:
            await self.link.ask(lambda: self._forget(key))
        return value

    async def _forget(self, *names: str) -> int:
        return int(await self._redis.unlink(*names))

    def _give_back(self, answer: Answer[_Found]) -> None:
        """Ends a lease that came when nobody waited for it any more."""
        if answer.lease is not None:
            self.release(answer.lease)

    async def _release(self, lease: Lease) -> None:
        await lease.release(self._redis)

    def _counted(self, value: bytes | None) -> bytes | None:
        if value is None:
            self._misses += 1
            self._metrics.miss()
        else:
            self._hits += 1
            self._metrics.hit()
        return value


async def _at_once(make: Callable[[T], V], given: T) -> V:
    return make(given)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
