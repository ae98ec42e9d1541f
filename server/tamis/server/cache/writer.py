"""What is to be written to Redis some time soon: in batches, and never too much of it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tamis.server.cache.breaker import Breaker
from tamis.server.cache.lease import Lease
from tamis.server.metrics import CacheMetrics

logger = logging.getLogger(__name__)

MAX_PENDING = 512  # writes that wait for their turn
MAX_PENDING_BYTES = 8 << 20
BATCH = 64  # in one round trip


class Writer:
    """A queue of writes, and the task that empties it.

    Args:
        redis: Where to write.
        ttl_s: How long Redis keeps an entry, in seconds.
        breaker: While it is open, writes are dropped.
        metrics: Counts what it does.
        start: Runs a coroutine as a task.
        failed: Is told of a batch that Redis did not answer, with the breaker's ticket.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        ttl_s: int,
        breaker: Breaker,
        metrics: CacheMetrics,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        failed: Callable[[int, Exception], None],
    ) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._breaker = breaker
        self._metrics = metrics
        self._start = start
        self._failed = failed
        self._pending: dict[str, bytes | Lease] = {}
        self._bytes = 0
        self._refusing = False
        self.task: asyncio.Task[None] | None = None
        self.errors = 0
        self.dropped = 0

    def set(self, key: str, data: bytes) -> None:
        """Queues a value in place of one that waits under its key; drops it if there is no room."""
        size = len(key) + len(data)
        full = len(self._pending) >= MAX_PENDING or self._bytes + size > MAX_PENDING_BYTES
        if full or not self._breaker.closed:
            self._drop(1)
            return
        self._bytes += size - self._take_back(key)
        self._queue(key, data)

    def release(self, lease: Lease) -> None:
        """Queues the end of a lease, behind the value that it was for."""
        if self._breaker.closed:
            self._queue(lease.name, lease)

    def forget(self, prefix: str) -> None:
        """Takes back the values that have not been sent and whose keys begin so."""
        for key in [key for key in self._pending if key.startswith(prefix)]:
            self._bytes -= self._take_back(key)

    def _queue(self, name: str, what: bytes | Lease) -> None:
        self._pending.pop(name, None)  # the last to come is the last to be sent
        self._pending[name] = what
        if self.task is None:
            self.task = self._start(self._empty())

    async def _empty(self) -> None:
        try:
            while self._pending and self._breaker.closed:
                batch = dict(list(self._pending.items())[:BATCH])
                for key in batch:
                    self._bytes -= self._take_back(key)
                await self._send(batch)
        finally:
            self._drop(sum(isinstance(what, bytes) for what in self._pending.values()))
            self._pending.clear()
            self._bytes = 0
            self.task = None

    async def _send(self, batch: dict[str, bytes | Lease]) -> None:
        ticket = self._breaker.ticket()
        pipeline = self._redis.pipeline(transaction=False)
        for key, what in batch.items():
            if isinstance(what, Lease):
                what.release(pipeline)
            else:
                pipeline.set(key, what, ex=self._ttl_s)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 - nonsense can fail anywhere in the client
            self._count(len(batch))
            self._failed(ticket, error)
            return
        # A refusal (full, read-only, not allowed) is an answer: reading goes on.
        refusals = [answer for answer in answers if isinstance(answer, ResponseError)]
        self._count(len(refusals))
        if bool(refusals) != self._refusing:
            self._refusing = bool(refusals)
            if refusals:
                logger.warning("redis: refuses writes: %s", refusals[0])
            else:
                logger.info("redis: takes writes again")

    def _count(self, errors: int) -> None:
        self.errors += errors
        self._metrics.error(errors)

    def _drop(self, writes: int) -> None:
        self.dropped += writes
        self._metrics.dropped(writes)

    def _take_back(self, key: str) -> int:
        """Takes a write back; returns its size."""
        what = self._pending.pop(key, None)
        return len(key) + len(what) if isinstance(what, bytes) else 0
