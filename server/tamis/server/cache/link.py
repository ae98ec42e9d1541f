"""A way to Redis: nobody waits for it beyond a budget, and it is left alone when it fails."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tamis.server.cache.breaker import Breaker
from tamis.server.cache.connection import connect
from tamis.server.cache.settings import CacheSettings
from tamis.server.metrics import CacheMetrics
from tamis.server.tasks import done_soon

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Nobody waits for these: connecting, writing, probing, and answers that came too late.
BACKGROUND_S = 1.0
READS = 8  # questions at once, each on a connection of its own
SPARE = 8  # connections that write, probe and purge
PURGE_S = 60.0
PURGE_KEYS = 1_000  # looked at in one round trip


class Link:
    """Connections to Redis, and the circuit breaker that they share.

    A question runs in a task of its own and is never cancelled: a caller whose budget is spent
    leaves it behind, and the connection stays good once the answer has come. So a connection that
    takes longer than the budget to open (TLS, another zone) is there for the next call.

    Args:
        settings: Its `redis_url` is not empty.
        timeout_s: The budget of one question, in seconds.
        metrics: Counts what it does.
        clock: For the breaker; in seconds.

    Attributes:
        redis: The client, for questions and for what nobody waits for.
        breaker: Whether Redis is left alone.
        errors: Questions and purges that failed or took too long.
        skipped: Questions that were not asked, because Redis is left alone.

    Raises:
        SettingsError: See `connect`.
    """

    def __init__(
        self,
        settings: CacheSettings,
        *,
        timeout_s: float,
        metrics: CacheMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._metrics = metrics
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_pause_s, clock)
        limit_s = max(BACKGROUND_S, timeout_s)
        self.connection = connect(settings, limit_s=limit_s, max_connections=READS + SPARE)
        self.redis = self.connection.client
        self._slots = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.errors = self.skipped = 0

    async def ask(
        self,
        question: Callable[[], Coroutine[Any, Any, T]],
        *,
        late: Callable[[T], None] | None = None,
    ) -> T | None:
        """What Redis answers within the budget; None where it does not, which is counted.

        Connecting is part of the budget. While Redis is left alone it returns at once.

        Args:
            question: Asks; what it returns is not None.
            late: Is given an answer that came when nobody waited for it any more.
        """
        if not self.usable():
            self.skipped += 1
            self._metrics.skipped()
            return None
        began = time.perf_counter()
        ticket = self.breaker.ticket()
        asking: asyncio.Task[T] | None = None
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._slots.acquire()
                    asking = self.start(question())
                    asking.add_done_callback(lambda _: self._slots.release())
                    answer = await asyncio.shield(asking)
            except TimeoutError:
                if asking is None or not await done_soon(asking):
                    raise
                answer = asking.result()
        except BaseException as error:
            if asking is not None and late is not None:
                asking.add_done_callback(lambda task: _hand_over(task, late))
            if not isinstance(error, Exception):  # nonsense can fail anywhere in the client
                raise
            self.errors += 1
            self._metrics.error()
            self.failed(ticket, error)
            return None
        self._metrics.took(time.perf_counter() - began)
        self.breaker.succeeded(ticket)
        return answer

    async def purge(self, prefix: str) -> int:
        """Forgets every key that begins so; returns how many there were.

        Looks at the whole keyspace, in batches; gives up, and says so in the log, after a minute
        or where Redis does not answer.
        """
        removed = 0
        try:
            async with asyncio.timeout(PURGE_S):
                keys: list[bytes] = []
                async for key in self.redis.scan_iter(f"{prefix}*", PURGE_KEYS):
                    keys.append(key)
                    if len(keys) == PURGE_KEYS:
                        removed += await self.redis.unlink(*keys)
                        keys.clear()
                if keys:
                    removed += await self.redis.unlink(*keys)
        except Exception as error:  # noqa: BLE001 - nonsense can fail anywhere in the client
            self.errors += 1
            logger.warning("redis: purge of %s* ended early: %s", prefix, said(error))
        return removed

    async def warm_up(self) -> None:
        """Connects ahead of the first question; without it, the first ones may be misses."""
        await asyncio.wait({self.start(self._probe())})

    async def settle(self) -> None:
        """Waits until nothing is under way: writes, probes, answers that nobody waits for."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Lets what is under way end, within a second or so, and disconnects."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=BACKGROUND_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.connection.close()
        except Exception as error:  # noqa: BLE001 - see `purge`
            logger.debug("redis: while disconnecting: %s", said(error))

    def usable(self) -> bool:
        """Whether Redis may be asked; where it is time to look whether it may, begins to."""
        if self.breaker.closed:
            return True
        if self.breaker.probe_due():
            self.start(self._look_again())
        return False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs what nobody need wait for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def failed(self, ticket: int, error: BaseException) -> None:
        """Tells the breaker that what began with this ticket was not answered."""
        if self.breaker.failed(ticket):
            pause_s = self.breaker.pause_s
            logger.warning("redis: left alone for %g s at a time: %s", pause_s, said(error))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of a call that nobody waits for any more: it was counted then

    async def _look_again(self) -> None:
        well = False
        try:
            well = await self._probe()
        finally:
            self.breaker.probed(well=well)
        if well:
            logger.info("redis: in use again")

    async def _probe(self) -> bool:
        """Whether Redis answers within the budget, once it is connected to."""
        try:
            await self.redis.get("tamis:probe")
            async with asyncio.timeout(self._timeout_s):
                await self.redis.get("tamis:probe")
        except Exception:  # noqa: BLE001 - see `purge`
            return False
        return True


def said(error: BaseException) -> str:
    """The error for a log, in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _hand_over(task: asyncio.Task[T], late: Callable[[T], None]) -> None:
    if not task.cancelled() and not task.exception():
        late(task.result())
