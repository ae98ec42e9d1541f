"""What all processes remember together, in Redis, without ever waiting long for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from redis.exceptions import ResponseError

from tamis.server.cache import TierStats
from tamis.server.cache.breaker import Breaker
from tamis.server.cache.connection import connect
from tamis.server.cache.settings import CacheSettings
from tamis.server.metrics import CacheMetrics, Metrics

V = TypeVar("V")

logger = logging.getLogger(__name__)

# Nobody waits for these: connecting, writing, probing, and answers that came too late.
BACKGROUND_S = 1.0
READS = 8  # at once, each on a connection of its own
SPARE = 8  # connections that write, probe and purge
MAX_PENDING = 256  # writes that wait for their turn
MAX_PENDING_BYTES = 8 << 20
WRITES = 64  # in one round trip
PURGE_S = 60.0
PURGE_KEYS = 1_000  # looked at in one round trip


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
        self._ttl_s = settings.redis_ttl_s
        self._decode = decode
        self._metrics = metrics or Metrics().cache("redis", "any")
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_pause_s, clock)
        limit_s = max(BACKGROUND_S, self._timeout_s)
        self._connection = connect(settings, limit_s=limit_s, max_connections=READS + SPARE)
        self._redis = self._connection.client
        self._slots = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pending: dict[str, bytes] = {}
        self._pending_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._refusing = False
        self._hits = self._misses = self._errors = self._dropped = 0

    async def get(self, key: str) -> V | None:
        """What is kept under the key; None where there is nothing, or Redis does not answer.

        Returns within `redis_timeout_ms`, connecting included; at once while Redis is left alone.
        """
        if not self._usable():
            self._misses += 1
            self._metrics.skipped()
            return None
        began = time.perf_counter()
        ticket = self._breaker.ticket()
        reading: asyncio.Task[Any] | None = None
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._slots.acquire()
                    reading = self._start(self._read(key))
                    reading.add_done_callback(lambda _: self._slots.release())
                    found = await asyncio.shield(reading)
            except TimeoutError:
                if reading is None or not await _done_soon(reading):
                    raise
                found = reading.result()
        except Exception as error:  # noqa: BLE001 - nonsense can fail anywhere in the client
            self._errors += 1
            self._metrics.error()
            self._failed(ticket, error)
            return None
        self._metrics.took(time.perf_counter() - began)
        self._breaker.succeeded(ticket)
        value = self._decode(found) if isinstance(found, bytes) else None
        if value is None:
            self._misses += 1
            self._metrics.miss()
        else:
            self._hits += 1
            self._metrics.hit()
        return value

    def set(self, key: str, data: bytes) -> None:
        """Keeps the bytes, some time soon; drops and counts them where there is too much to do."""
        size = len(key) + len(data)
        full = len(self._pending) >= MAX_PENDING or self._pending_bytes + size > MAX_PENDING_BYTES
        if full or not self._usable():
            self._drop(1)
            return
        self._pending_bytes += size - self._unpend(key)
        self._pending[key] = data
        if self._writer is None:
            self._writer = self._start(self._write())

    async def purge(self, prefix: str) -> int:
        """Forgets every key that begins so; returns how many there were.

        Looks at the whole keyspace, in batches; gives up, and says so in the log, after a minute
        or where Redis does not answer.
        """
        for key in [key for key in self._pending if key.startswith(prefix)]:
            self._pending_bytes -= self._unpend(key)
        if self._writer is not None:  # what it has sent may arrive after the scan
            await asyncio.wait({self._writer}, timeout=BACKGROUND_S)
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
        return self._dropped

    def stats(self) -> TierStats:
        """What it did so far."""
        return TierStats("redis", self._hits, self._misses, self._errors + self._dropped, 0)

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

    async def _read(self, key: str) -> object:
        return await self._redis.get(key)

    async def _write(self) -> None:
        try:
            while self._pending and self._breaker.closed:
                batch = dict(list(self._pending.items())[:WRITES])
                for key in batch:
                    self._pending_bytes -= self._unpend(key)
                await self._write_batch(batch)
        finally:
            self._drop(len(self._pending))
            self._pending.clear()
            self._pending_bytes = 0
            self._writer = None

    async def _write_batch(self, batch: dict[str, bytes]) -> None:
        ticket = self._breaker.ticket()
        pipeline = self._redis.pipeline(transaction=False)
        for key, data in batch.items():
            pipeline.set(key, data, ex=self._ttl_s)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 - see `get`
            self._errors += len(batch)
            self._metrics.error(len(batch))
            self._failed(ticket, error)
            return
        # A refusal (full, read-only, not allowed) is an answer: reading goes on.
        refusals = [answer for answer in answers if isinstance(answer, ResponseError)]
        self._errors += len(refusals)
        self._metrics.error(len(refusals))
        if bool(refusals) != self._refusing:
            self._refusing = bool(refusals)
            if refusals:
                logger.warning("redis: refuses writes: %s", _said(refusals[0]))
            else:
                logger.info("redis: takes writes again")

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

    def _drop(self, writes: int) -> None:
        self._dropped += writes
        self._metrics.dropped(writes)

    def _unpend(self, key: str) -> int:
        """Takes a write back; returns its size."""
        data = self._pending.pop(key, None)
        return 0 if data is None else len(key) + len(data)


async def _done_soon(task: asyncio.Task[Any]) -> bool:
    """Whether it is done within a few turns of the loop, which take no time to speak of.

    Where this process was busy for longer than the budget, the answer has been in the socket, but
    the timer is seen first.
    """
    for _ in range(4):
        if task.done():
            return True
        await asyncio.sleep(0)
    return task.done()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
