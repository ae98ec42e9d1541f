"""What all processes remember together, in Redis, without ever waiting long for it."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from redis.exceptions import ResponseError

from tamis.server.cache import TierStats
from tamis.server.cache.lease import Answer, Lease, answered, take
from tamis.server.cache.link import BACKGROUND_S, Link
from tamis.server.cache.settings import CacheSettings
from tamis.server.cache.writer import Writer
from tamis.server.metrics import CacheMetrics, Metrics

V = TypeVar("V")

POLL_S = (0.001, 0.016)  # between two looks at what another process computes: first, and at most


class RedisTier(Generic[V]):
    """A tier of bytes in Redis. No method raises what Redis does; `get` waits at most its budget.

    Args:
        settings: Its `redis_url` is not empty.
        decode: Reads what was found; None means that it is not ours, and counts as a miss.
        metrics: Counts what it does.
        clock: For the breaker; in seconds.

    Raises:
        SettingsError: See `connect`.
    """

    def __init__(
        self,
        settings: CacheSettings,
        decode: Callable[[bytes], V | None],
        *,
        metrics: CacheMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_s = settings.redis_lease_ms / 1_000
        self._decode = decode
        self._metrics = metrics or Metrics().cache("redis", "any")
        timeout_s = settings.redis_timeout_ms / 1_000
        self.link = Link(settings, timeout_s=timeout_s, metrics=self._metrics, clock=clock)
        self._redis = self.link.redis
        self._writer = Writer(
            self._redis,
            ttl_s=settings.redis_ttl_s,
            breaker=self.link.breaker,
            metrics=self._metrics,
            start=self.link.start,
            failed=self.link.failed,
        )
        self._hits = self._misses = 0

    async def get(self, key: str) -> V | None:
        """What is kept under the key; None where there is nothing, or Redis does not answer.

        Returns within `redis_timeout_ms`, connecting included; at once while Redis is left alone.
        """
        answer = await self.link.ask(lambda: self._read(key))
        return None if answer is None else self._counted(answer.value)

    async def get_or_lease(
        self, key: str, until: Callable[[], float]
    ) -> tuple[V | None, Lease | None]:
        """What is kept under the key, or else the lease to compute it, which is to be released.

        Where another process has the lease, looks again and again for what it computes, until the
        event loop's clock says `until()` or two leases have passed. Neither is given where that
        was in vain, or where Redis does not answer or takes no writes: then compute without.
        """
        if not self._lease_s:
            return await self.get(key), None
        answer = await answered(
            lambda: self.link.ask(lambda: self._read_or_take(key), late=self._give_back),
            lease_s=self._lease_s,
            poll_s=POLL_S,
            until=until,
        )
        return (None, None) if answer is None else (self._counted(answer.value), answer.lease)

    def set(self, key: str, data: bytes) -> None:
        """Keeps the bytes, some time soon; drops and counts them where there is too much to do."""
        self.link.usable()  # it may be time to look again
        self._writer.set(key, data)

    def release(self, lease: Lease) -> None:
        """Gives a lease back, after what has been set before."""
        self._writer.release(lease)

    async def purge(self, prefix: str) -> int:
        """Forgets every key that begins so; returns how many there were. See `Link.purge`."""
        self._writer.forget(prefix)
        if self._writer.task is not None:  # what it has sent may arrive after the scan
            await asyncio.wait({self._writer.task}, timeout=BACKGROUND_S)
        return await self.link.purge(prefix)

    async def warm_up(self) -> None:
        """Connects ahead of the first search; without it, the first look-ups may be misses."""
        await self.link.warm_up()

    async def settle(self) -> None:
        """Waits until nothing is under way: writes, probes, answers that nobody waits for."""
        await self.link.settle()

    async def close(self) -> None:
        """Writes what is pending, within a second or so, and disconnects."""
        await self.link.close()

    @property
    def dropped(self) -> int:
        """Writes that were given up because too many were waiting, or Redis was left alone."""
        return self._writer.dropped

    def stats(self) -> TierStats:
        """What it did so far."""
        errors = self.link.errors + self._writer.errors + self._writer.dropped
        return TierStats("redis", self._hits, self._misses + self.link.skipped, errors, 0)

    async def _read(self, key: str) -> Answer[V]:
        return Answer(self._read_value(await self._redis.get(key)))

    def _read_value(self, found: object) -> V | None:
        return self._decode(found) if isinstance(found, bytes) else None

    async def _read_or_take(self, key: str) -> Answer[V]:
        answer = await self._read(key)
        if answer.value is not None:
            return answer
        try:
            lease, found = await take(self._redis, key, self._lease_s)
        except ResponseError:  # full, read-only, not allowed: who misses it computes it
            return answer
        value = self._read_value(found)
        if value is None:
            return Answer(lease=lease, taken=lease is None)
        if lease is not None:
            self.release(lease)
        return Answer(value)

    def _give_back(self, answer: Answer[V]) -> None:
        """Ends a lease that came when nobody waited for it any more."""
        if answer.lease is not None:
            self.release(answer.lease)

    def _counted(self, value: V | None) -> V | None:
        if value is None:
            self._misses += 1
            self._metrics.miss()
        else:
            self._hits += 1
            self._metrics.hit()
        return value
