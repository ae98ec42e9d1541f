"""Query embeddings: found in this process, found in Redis, or computed once for all who ask."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tamis.models.types import Representation
from tamis.server.cache import NotRememberedError, TierStats, codec, keys
from tamis.server.cache.lease import Lease
from tamis.server.cache.local import LocalTier
from tamis.server.cache.redis import RedisTier
from tamis.server.cache.settings import CacheSettings
from tamis.server.cache.tracking import Tracker
from tamis.server.metrics import Metrics

Representations = Mapping[str, Representation]
Compute = Callable[[], Awaitable[Representations]]

logger = logging.getLogger(__name__)


class Policy(StrEnum):
    """How a search may use what is remembered."""

    DEFAULT = "default"  # read and write
    BYPASS = "bypass"  # neither
    REFRESH = "refresh"  # write but do not read
    ONLY = "only"  # read and never compute


_READING = frozenset({Policy.DEFAULT, Policy.ONLY})


class Source(StrEnum):
    """Where representations came from."""

    LOCAL = "local"  # this process remembered them
    REDIS = "redis"  # Redis remembered them
    COALESCED = "coalesced"  # somebody else was computing them already
    ENCODER = "encoder"  # they were computed


@dataclass(slots=True)
class _Flight:
    """A look-up that several callers wait for.

    Attributes:
        patience: Until when it may wait for another process that computes the same.
        waiting: How many callers there are.
        outdated: Whether another process has changed the entry since it began.
        task: Does it.
    """

    patience: float
    waiting: int = 0
    outdated: bool = False
    task: asyncio.Task[tuple[Representations, Source]] = field(init=False)


class EmbeddingCache:
    """Remembers what encoders made of queries, in this process and in Redis.

    After `warm_up`, an entry that changes in Redis (purged, replaced, expired) is forgotten here,
    where Redis tells of it. It tells of this process's own writes too: the second to ask for what
    was computed here reads it from Redis, the third finds it here.

    Args:
        settings: Which tiers there are, and how large.
        personal: Errors that concern only the caller whose `compute` raised them, such as its
            deadline: the others who wait for it compute again, once for all of them.
        metrics: Counts what it does.
        clock: For Redis's circuit breaker; in seconds.

    Raises:
        SettingsError: The Redis URL is not one that the client reads.
    """

    def __init__(
        self,
        settings: CacheSettings,
        *,
        personal: tuple[type[Exception], ...] = (),
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        metrics = metrics or Metrics()
        self._metrics = metrics.cache("local", keys.EMBEDDING)
        self._local: LocalTier[Representations] = LocalTier(settings.local_bytes)
        self._redis: RedisTier[Representations] | None = None
        if settings.redis_url:
            counts = metrics.cache("redis", keys.EMBEDDING)
            self._redis = RedisTier(settings, codec.decode, metrics=counts, clock=clock)
            prefix = keys.prefix(keys.EMBEDDING)
            self._tracker = Tracker(
                self._redis.link.connection, prefix, self._changed, pause_s=settings.breaker_pause_s
            )
        self._personal = personal
        self._flights: dict[tuple[str, Policy], _Flight] = {}
        self._tasks: set[asyncio.Task[tuple[Representations, Source]]] = set()
        self._purges = 0
        self._warned = False

    @staticmethod
    def key(fingerprint: str, digest: str) -> str:
        """The key of a query's representations: who makes them, and of what."""
        return keys.key(keys.EMBEDDING, fingerprint, digest)

    async def get_or_compute(
        self,
        key: str,
        compute: Compute,
        policy: Policy = Policy.DEFAULT,
        *,
        deadline: float = math.inf,
    ) -> tuple[Representations, Source]:
        """The representations of one query, and where they came from.

        However many ask for one key at once, it is computed once, in one of the processes that
        share a Redis. The others wait for it, at most half of the time that is left until
        `deadline` (on the event loop's clock): then there is time to compute.

        A caller that is cancelled leaves the computation to the others; when the last one leaves it
        is cancelled. What `compute` raises is raised to all who wait, and not remembered. Arrays
        that are remembered are read-only, because many share them.

        Raises:
            NotRememberedError: The policy is `ONLY`, and no tier has them.
        """
        if policy is Policy.BYPASS:
            return await compute(), Source.ENCODER
        if policy in _READING:
            found = self._local.get(key)
            if found is not None:
                self._metrics.hit()
                return found, Source.LOCAL
            self._metrics.miss()
        now = asyncio.get_running_loop().time()
        patience = now + (deadline - now) / 2
        while True:
            flight = self._flights.get((key, policy))
            ours = flight is None
            if flight is None:
                flight = self._start(key, compute, policy, patience)
            flight.patience = min(flight.patience, patience)
            try:
                value, source = await self._arrival(flight, key, policy)
            except self._personal:
                if ours:
                    raise
                continue
            if ours or source is Source.REDIS:
                return value, source
            self._metrics.coalesced()
            return value, Source.COALESCED

    async def purge(self, fingerprint: str | None = None) -> int:
        """Forgets what one encoder made, or everything; returns how many entries there were.

        An entry in both tiers counts twice. What is being computed meanwhile is not remembered.
        """
        self._purges += 1
        prefix = keys.prefix(keys.EMBEDDING, fingerprint)
        removed = self._local.purge(prefix)
        if self._redis is not None:
            removed += await self._redis.purge(prefix)
        return removed

    def stats(self) -> tuple[TierStats, ...]:
        """What each tier did so far; a tier that is turned off has none."""
        tiers = [self._local.stats()] if self._local.max_bytes else []
        if self._redis is not None:
            tiers.append(self._redis.stats())
        return tuple(tiers)

    async def warm_up(self) -> None:
        """Connects to Redis ahead of the first search; not needed, and never fails."""
        if self._redis is not None:
            await self._redis.warm_up()
            if self._local.max_bytes:
                self._tracker.start()

    async def settle(self) -> None:
        """Waits until Redis has been told everything."""
        if self._redis is not None:
            await self._redis.settle()

    async def close(self) -> None:
        """Cancels what is being computed, writes what is pending and lets go of Redis."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._redis is not None:
            await self._tracker.close()
            await self._redis.close()

    def _start(self, key: str, compute: Compute, policy: Policy, patience: float) -> _Flight:
        flight = _Flight(patience)
        flight.task = asyncio.create_task(self._fly(flight, key, compute, policy))
        self._flights[key, policy] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda task: self._landed(key, policy, flight))
        return flight

    def _landed(self, key: str, policy: Policy, flight: _Flight) -> None:
        self._tasks.discard(flight.task)
        if self._flights.get((key, policy)) is flight:
            del self._flights[key, policy]
        if not flight.task.cancelled():
            flight.task.exception()  # raised to those who wait; there may be none left

    async def _arrival(
        self, flight: _Flight, key: str, policy: Policy
    ) -> tuple[Representations, Source]:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                # Gone from the table at once: who asks now must not join what is being cancelled.
                if self._flights.get((key, policy)) is flight:
                    del self._flights[key, policy]
                flight.task.cancel()

    async def _fly(
        self, flight: _Flight, key: str, compute: Compute, policy: Policy
    ) -> tuple[Representations, Source]:
        purges = self._purges
        found, lease = await self._shared(flight, key, policy)
        if found is not None:
            if purges == self._purges and not flight.outdated:
                self._local.put(key, found, codec.nbytes(found))
            return found, Source.REDIS
        if policy is Policy.ONLY:
            raise NotRememberedError("query: not remembered, and cache_policy is ONLY")
        try:
            computed = await compute()
            if purges == self._purges:
                computed = self._keep(key, computed)
        finally:
            if self._redis is not None and lease is not None:
                self._redis.release(lease)
        return computed, Source.ENCODER

    def _changed(self, changed: Sequence[str] | None) -> None:
        """Forgets what changed in Redis; all of it where that is not known."""
        if changed is None:
            self._local.purge(keys.prefix(keys.EMBEDDING))
        known = None if changed is None else set(changed)
        for key in known or ():
            self._local.discard(key)
        for (key, _), flight in self._flights.items():
            flight.outdated |= known is None or key in known

    async def _shared(
        self, flight: _Flight, key: str, policy: Policy
    ) -> tuple[Representations | None, Lease | None]:
        """What Redis has, or the lease to compute it for all."""
        if self._redis is None or policy not in _READING:
            return None, None
        if policy is Policy.ONLY:
            return await self._redis.get(key), None
        return await self._redis.get_or_lease(key, lambda: flight.patience)

    def _keep(self, key: str, computed: Representations) -> Representations:
        """Remembers what was computed; returns what others will be given for it."""
        if self._redis is None and not self._local.max_bytes:
            return computed
        try:
            data = codec.encode(computed)
        except ValueError as error:
            if not self._warned:
                self._warned = True
                logger.warning("not remembered, nor is any like it: %s: %s", key, error)
            return computed
        # A copy, because one row of a batch would hold all of it in memory.
        value = codec.decode(data)
        if value is None:
            raise AssertionError("what was encoded just now must decode")
        self._local.put(key, value, codec.nbytes(value))
        if self._redis is not None:
            self._redis.set(key, data)
        return value
