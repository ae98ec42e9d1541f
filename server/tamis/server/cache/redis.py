"""What all processes remember together, in Redis, without ever waiting long for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis.exceptions import ResponseError

from tamis.server.cache import TierStats
from tamis.server.cache.breaker import Breaker
from tamis.server.cache.connection import connect
from tamis.server.cache.lease import Lease, take
from tamis.server.cache.settings import CacheSettings
from tamis.server.cache.writer import Writer
from tamis.server.metrics import CacheMetrics, Metrics
from tamis.server.tasks import done_soon

V = TypeVar("V")

logger = logging.getLogger(__name__)

# Nobody waits for these: connecting, writing, probing, and answers that came too late.
BACKGROUND_S = 1.0
READS = 8  # at once, each on a connection of its own
SPARE = 8  # connections that write, probe and purge
PURGE_S = 60.0
PURGE_KEYS = 1_000  # looked at in one round trip
MAX_POLL_S = 0.016  # between two looks at what another process computes


@dataclass(frozen=True, slots=True)
class _Answer(Generic[V]):
    """What Redis said: a value, a lease to compute it, or that somebody else has that."""

    value: V | None = None
    lease: Lease | None = None
    taken: bool = False


class RedisTier(Generic[V]):
    """A tier of bytes in Redis. No method raises what Redis does; `get` waits at most its budget.

    A command runs in a task of its own and is never cancelled: a caller whose budget is spent
    leaves it behind, and the connection stays good once the answer has come. So a connection that
    takes longer than the budget to open (TLS, another zone) is there for the next call.

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
        self._timeout_s = settings.redis_timeout_ms / 1_000
        self._lease_s = settings.redis_lease_ms / 1_000
        self._decode = decode
        self._metrics = metrics or Metrics().cache("redis", "any")
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_pause_s, clock)
        limit_s = max(BACKGROUND_S, self._timeout_s)
        self._connection = connect(settings, limit_s=limit_s, max_connections=READS + SPARE)
        self._redis = self._connection.client
        self._slots = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writer = Writer(
            self._redis,
            ttl_s=settings.redis_ttl_s,
            breaker=self._breaker,
            metrics=self._metrics,
            start=self._start,
            failed=self._failed,
        )
        self._hits = self._misses = self._errors = 0

    async def get(self, key: str) -> V | None:
        """What is kept under the key; None where there is nothing, or Redis does not answer.

        Returns within `redis_timeout_ms`, connecting included; at once while Redis is left alone.
        """
        answer = await self._ask(lambda: self._read(key))
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
        now = asyncio.get_running_loop().time
        last = now() + 2 * self._lease_s
        pause_s = MAX_POLL_S / 16
        while True:
            answer = await self._ask(lambda: self._read_or_take(key))
            if answer is None:
                return None, None
            left_s = min(until(), last) - now()
            if not answer.taken or left_s <= 0:
                return self._counted(answer.value), answer.lease
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, MAX_POLL_S)

    def set(self, key: str, data: bytes) -> None:
        """Keeps the bytes, some time soon; drops and counts them where there is too much to do."""
        self._usable()  # it may be time to look again
        self._writer.set(key, data)

    def release(self, lease: Lease) -> None:
        """Gives a lease back, after what has been set before."""
        self._writer.release(lease)

    async def purge(self, prefix: str) -> int:
        """Forgets every key that begins so; returns how many there were.

        Looks at the whole keyspace, in batches; gives up, and says so in the log, after a minute
        or where Redis does not answer.
        """
        self._writer.forget(prefix)
        if self._writer.task is not None:  # what it has sent may arrive after the scan
            await asyncio.wait({self._writer.task}, timeout=BACKGROUND_S)
        removed = 0
        try:
            async with asyncio.timeout(PURGE_S):
                keys: list[bytes] = []
                async for key in self._redis.scan_iter(f"{prefix}*", PURGE_KEYS):
                    keys.append(key)
                    if len(keys) == PURGE_KEYS:
                        removed += await self._redis.unlink(*keys)
                        keys.clear()
                if keys:
                    removed += await self._redis.unlink(*keys)
        except Exception as error:  # noqa: BLE001 - see `get`
            self._errors += 1
            logger.warning("redis: purge of %s* ended early: %s", prefix, _said(error))
        return removed

    async def warm_up(self) -> None:
        """Connects ahead of the first search; without it, the first look-ups may be misses."""
        await asyncio.wait({self._start(self._probe())})

    async def settle(self) -> None:
        """Waits until nothing is under way: writes, probes, answers that nobody waits for."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Writes what is pending, within a second or so, and disconnects."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=BACKGROUND_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._connection.close()
        except Exception as error:  # noqa: BLE001 - see `get`
            logger.debug("redis: while disconnecting: %s", _said(error))

    @property
    def dropped(self) -> int:
        """Writes that were given up because too many were waiting, or Redis was left alone."""
        return self._writer.dropped

    def stats(self) -> TierStats:
        """What it did so far."""
        errors = self._errors + self._writer.errors + self._writer.dropped
        return TierStats("redis", self._hits, self._misses, errors, 0)

    async def _ask(
        self, question: Callable[[], Coroutine[Any, Any, _Answer[V]]]
    ) -> _Answer[V] | None:
        """What Redis answers within the budget; None where it does not, which is counted."""
        if not self._usable():
            self._misses += 1
            self._metrics.skipped()
            return None
        began = time.perf_counter()
        ticket = self._breaker.ticket()
        asking: asyncio.Task[_Answer[V]] | None = None
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._slots.acquire()
                    asking = self._start(question())
                    asking.add_done_callback(lambda _: self._slots.release())
                    answer = await asyncio.shield(asking)
            except TimeoutError:
                if asking is None or not await done_soon(asking):
                    raise
                answer = asking.result()
        except BaseException as error:
            if asking is not None:
                asking.add_done_callback(self._give_back)
            if not isinstance(error, Exception):  # nonsense can fail anywhere in the client
                raise
            self._errors += 1
            self._metrics.error()
            self._failed(ticket, error)
            return None
        self._metrics.took(time.perf_counter() - began)
        self._breaker.succeeded(ticket)
        return answer

    async def _read(self, key: str) -> _Answer[V]:
        return _Answer(self._read_value(await self._redis.get(key)))

    def _read_value(self, found: object) -> V | None:
        return self._decode(found) if isinstance(found, bytes) else None

    async def _read_or_take(self, key: str) -> _Answer[V]:
        answer = await self._read(key)
        if answer.value is not None:
            return answer
        try:
            lease, found = await take(self._redis, key, self._lease_s)
        except ResponseError:  # full, read-only, not allowed: who misses it computes it
            return answer
        value = self._read_value(found)
        if value is None:
            return _Answer(lease=lease, taken=lease is None)
        if lease is not None:
            self.release(lease)
        return _Answer(value)

    def _give_back(self, asking: asyncio.Task[_Answer[V]]) -> None:
        """Ends a lease that came when nobody waited for it any more."""
        if not asking.cancelled() and not asking.exception() and (lease := asking.result().lease):
            self.release(lease)

    def _counted(self, value: V | None) -> V | None:
        if value is None:
            self._misses += 1
            self._metrics.miss()
        else:
            self._hits += 1
            self._metrics.hit()
        return value

    def _usable(self) -> bool:
        if self._breaker.closed:
            return True
        if self._breaker.probe_due():
            self._start(self._look_again())
        return False

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of a call that nobody waits for any more: it was counted then

    def _failed(self, ticket: int, error: BaseException) -> None:
        if self._breaker.failed(ticket):
            pause_s = self._breaker.pause_s
            logger.warning("redis: left alone for %g s at a time: %s", pause_s, _said(error))

    async def _look_again(self) -> None:
        well = False
        try:
            well = await self._probe()
        finally:
            self._breaker.probed(well=well)
        if well:
            logger.info("redis: in use again")

    async def _probe(self) -> bool:
        """Whether Redis answers within the budget, once it is connected to."""
        try:
            await self._redis.get("tamis:probe")
            async with asyncio.timeout(self._timeout_s):
                await self._redis.get("tamis:probe")
        except Exception:  # noqa: BLE001 - see `get`
            return False
        return True


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
