"""Contexts under handles, and those that cost a model's time computed once for all who ask."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from tamis.models.errors import InputError
from tamis.server.cache import ContextsUnavailableError, NotRememberedError, TierStats, keys
from tamis.server.cache.chunks import ChunkTier
from tamis.server.cache.embeddings import Policy
from tamis.server.cache.lease import Lease
from tamis.server.cache.local import LocalTier
from tamis.server.cache.settings import CacheSettings
from tamis.server.errors import OverloadedError
from tamis.server.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_COMPUTED = 16  # contexts that are being computed at once; each may hold megabytes
_HANDLE = re.compile(r"[\w.~%-]{1,256}:[0-9a-f]{32}", re.ASCII)


class ContextCache:
    """Keeps contexts as bytes: in Redis, or in this process where there is none.

    Args:
        settings: Where, and how large they may be.
        alone: Whether all calls reach this process. Otherwise, without a Redis, no context is kept
            under a handle: the process that is asked for it would be another.
        metrics: Counts what it does.
        clock: For Redis's circuit breaker and for what this process keeps; in seconds.

    Raises:
        SettingsError: The Redis URL is not one that the client reads.
    """

    def __init__(
        self,
        settings: CacheSettings,
        *,
        alone: bool = True,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        metrics = metrics or Metrics()
        self._max_bytes = settings.context_max_bytes
        self._alone = alone
        self._clock = clock
        self._metrics = metrics.cache("local", keys.CONTEXT)
        self._local: LocalTier[tuple[bytes, float]] = LocalTier(settings.context_bytes)
        self._redis: ChunkTier | None = None
        if settings.redis_url:
            counts = metrics.cache("redis", keys.CONTEXT)
            self._redis = ChunkTier(settings, metrics=counts, clock=clock)
        self._flights: dict[tuple[str, Policy], asyncio.Task[bytes]] = {}
        self._purges = 0

    @staticmethod
    def handle(fingerprint: str, digest: str) -> str:
        """The handle of a context: whose it is, and 32 hex digits that tell it from all others."""
        return f"{quote(fingerprint, safe='')}:{digest}"

    async def keep(self, handle: str, data: bytes, ttl_s: int) -> float:
        """Keeps a context for so long from now; returns until when, in seconds since 1970.

        Raises:
            ContextsUnavailableError: It is too large, or there is nowhere to keep it now.
        """
        if self._redis is None and not self._alone:
            raise ContextsUnavailableError("cache.redis_url: several workers share handles in it")
        until = time.time() + ttl_s
        await self._put(handle, data, ttl_s)
        return until

    async def fetch(self, handle: str) -> bytes:
        """What was kept under a handle.

        Raises:
            InputError: It is not a handle.
            NotRememberedError: Nothing is kept under it any more.
            ContextsUnavailableError: Redis does not answer.
        """
        if not _HANDLE.fullmatch(handle):
            raise InputError(f"handle: {handle[:80]!r} is not one that GetContext knows")
        found = await self._get(handle)
        if found is None:
            raise NotRememberedError(
                f"handle: {handle!r} has expired, or its context was evicted or purged"
            )
        return found

    async def get_or_compute(
        self, handle: str, compute: Callable[[], Awaitable[bytes]], policy: Policy, *, ttl_s: int
    ) -> bytes:
        """A context that is kept, or computed once in all processes that share a Redis.

        A computation goes on when all who wait for it have left: it has cost too much to be thrown
        away, and whoever asks next finds it.

        Raises:
            NotRememberedError: The policy is `ONLY`, and it is not kept.
            OverloadedError: Too many others are being computed.
        """
        if policy is Policy.BYPASS:
            return await compute()
        flight = self._flights.get((handle, policy))
        if flight is None:
            if len(self._flights) >= MAX_COMPUTED:
                raise OverloadedError(f"{MAX_COMPUTED} contexts are being computed, the limit")
            flight = asyncio.create_task(self._fly(handle, compute, policy, ttl_s))
            self._flights[handle, policy] = flight
            flight.add_done_callback(lambda task: self._landed(handle, policy, task))
        return await asyncio.shield(flight)

    async def purge(self, fingerprint: str | None = None) -> int:
        """Forgets the contexts of one model, or all; returns how many there were."""
        self._purges += 1
        prefix = keys.prefix(keys.CONTEXT, fingerprint)
        removed = self._local.purge(prefix)
        return removed + (await self._redis.purge(prefix) if self._redis is not None else 0)

    def stats(self) -> tuple[TierStats, ...]:
        """What the tier in use did so far; none where contexts are not kept."""
        if self._redis is not None:
            return (self._redis.stats(),)
        local = self._local.stats()
        kept = TierStats("local", local.hits, local.misses, 0, local.bytes, keys.CONTEXT)
        return (kept,) if self._local.max_bytes else ()

    async def warm_up(self) -> None:
        """Connects to Redis ahead of the first context; not needed, and never fails."""
        if self._redis is not None:
            await self._redis.link.warm_up()

    async def close(self) -> None:
        """Cancels what is being computed and lets go of Redis."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if self._redis is not None:
            await self._redis.link.close()

    async def _fly(
        self, handle: str, compute: Callable[[], Awaitable[bytes]], policy: Policy, ttl_s: int
    ) -> bytes:
        purges, lease = self._purges, None
        if policy is not Policy.REFRESH:
            found, lease = await self._get_or_lease(handle, policy)
            if found is not None:
                return found
        if policy is Policy.ONLY:
            raise NotRememberedError("context: not kept, and cache_policy is ONLY")
        try:
            data = await compute()
            if purges == self._purges:
                try:
                    await self._put(handle, data, ttl_s)
                except ContextsUnavailableError as error:
                    logger.debug("%s: not kept: %s", handle, error)
        finally:
            if self._redis is not None and lease is not None:
                self._redis.release(lease)
        return data

    async def _get_or_lease(self, handle: str, policy: Policy) -> tuple[bytes | None, Lease | None]:
        if self._redis is not None and policy is Policy.DEFAULT:
            return await self._redis.read_or_lease(keys.prefix(keys.CONTEXT) + handle)
        try:
            return await self._get(handle), None
        except ContextsUnavailableError:
            return None, None

    async def _get(self, handle: str) -> bytes | None:
        key = keys.prefix(keys.CONTEXT) + handle
        if self._redis is not None:
            return await self._redis.read(key)
        data, until = self._local.get(key) or (None, 0.0)
        if data is not None and until <= self._clock():
            self._local.discard(key)
            data = None
        if data is None:
            self._metrics.miss()
        else:
            self._metrics.hit()
        return data

    async def _put(self, handle: str, data: bytes, ttl_s: int) -> None:
        if len(data) > self._max_bytes:
            raise ContextsUnavailableError(
                f"cache.context_max_bytes: {len(data)} bytes; at most {self._max_bytes}"
            )
        key = keys.prefix(keys.CONTEXT) + handle
        if self._redis is not None:
            await self._redis.write(key, data, ttl_s)
            return
        self._local.put(key, (data, self._clock() + ttl_s), len(data))
        if not self._local.holds(key):
            raise ContextsUnavailableError(
                f"cache.context_bytes: {len(data)} bytes do not fit, and there is no Redis"
            )

    def _landed(self, handle: str, policy: Policy, task: asyncio.Task[bytes]) -> None:
        del self._flights[handle, policy]
        if not task.cancelled():
            task.exception()  # raised to those who wait; there may be none left
