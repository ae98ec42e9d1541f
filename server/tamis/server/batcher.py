"""Groups single inputs into batches, so that a model runs once for many of them."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from tamis.server.config import BatchSettings
from tamis.server.errors import DeadlineError, OverloadedError
from tamis.server.metrics import Metrics
from tamis.server.pace import Pace

In = TypeVar("In")
Out = TypeVar("Out")

logger = logging.getLogger(__name__)

BULK_PATIENCE_S = 0.2  # after this long, work in bulk goes before the interactive once
GATHER_SHARE = 0.08  # of the time that a batch took: what waiting for more may cost at most


class Watch(Protocol):
    """Is told what became of an input in the queue."""

    def ran(self, waited_s: float, batch_size: int) -> None:
        """Its batch begins."""


@dataclass(slots=True)
class _Waiting(Generic[In, Out]):
    """An input in the queue."""

    item: In
    cost: int
    since: float
    bulk: bool
    deadline: float
    watch: Watch | None
    result: asyncio.Future[Out] = field(repr=False)


class _Batch(Generic[In, Out]):
    """A batch in the making."""

    def __init__(self, settings: BatchSettings, pace: Pace, room: float, now: float) -> None:
        self.members: list[_Waiting[In, Out]] = []
        self._settings = settings
        self._pace = pace
        self._room = room
        self._now = now
        self._cost = self._longest = 0
        self._deadline = math.inf

    def takes(self, one: _Waiting[In, Out]) -> bool:
        """Whether it takes one more: not if that would cost, pad or delay too much."""
        cost, longest = self._cost + one.cost, max(self._longest, one.cost)
        padded = longest * (len(self.members) + 1)
        deadline = min(self._deadline, one.deadline)
        padding = max(self._settings.max_padding * padded, self._settings.free_padding)
        if self.members and (
            cost > self._room
            or padded - cost > padding
            or self._now + self._pace.seconds(cost) > deadline
        ):
            return False
        self.members.append(one)
        self._cost, self._longest, self._deadline = cost, longest, deadline
        return True


class Batcher(Generic[In, Out]):
    """Runs `model` on batches of what `submit` is given. Use it as an async context manager.

    `model` maps a batch to as many results, in the same order. It runs in a thread of its own, one
    batch at a time: while it is busy the next batch gathers, and when it is idle nothing waits.
    Only right after a batch the next one may gather for `gather_ms` more.

    When a batch is cut, an input whose caller has gone is dropped, and so is one that could not be
    ready by its deadline: work for nobody would make the next one late as well. A batch holds
    inputs of like cost, so that little of it is padding, and no more than runs in `max_run_ms` by
    `pace`, so that the interactive do not wait long for the bulk. A batch that fails runs again one
    by one, so that a bad input fails alone.
    """

    def __init__(
        self,
        model: Callable[[Sequence[In]], Sequence[Out]],
        settings: BatchSettings,
        *,
        name: str,
        cost: Callable[[In], int] = lambda _: 1,
        metrics: Metrics | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._name = name
        self._cost = cost
        self._metrics = metrics or Metrics()
        self._queue = self._metrics.queue(name)
        self._interactive: deque[_Waiting[In, Out]] = deque()
        self._bulk: deque[_Waiting[In, Out]] = deque()
        self._pace = pace or Pace()
        self._free_at = -math.inf  # when the batch that runs should be over
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"model-{name}")

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    async def __aenter__(self) -> Self:
        self._worker = asyncio.create_task(self._work(), name=f"batcher {self._name}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        for waiting in (*self._interactive, *self._bulk):
            waiting.result.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def submit(
        self,
        item: In,
        *,
        bulk: bool = False,
        deadline: float = math.inf,
        watch: Watch | None = None,
    ) -> Out:
        """The model's result for one input. Cancel it to take the input back.

        Args:
            item: The input.
            bulk: Whether it yields to the interactive.
            deadline: When the result is of no more use, on the event loop's clock.
            watch: Is told when the input's batch begins.

        Raises:
            OverloadedError: `max_queued` inputs are waiting already, or those before it leave no
                time to have the result by the deadline.
            DeadlineError: It takes longer by itself, or the queue was slower than expected.
        """
        loop = asyncio.get_running_loop()
        now, cost = loop.time(), self._cost(item)
        self._admit(cost, deadline - now, now, bulk=bulk)
        waiting = _Waiting(item, cost, now, bulk, deadline, watch, loop.create_future())
        (self._bulk if bulk else self._interactive).append(waiting)
        self._arrived.set()
        return await waiting.result

    def _admit(self, cost: int, left_s: float, now: float, *, bulk: bool) -> None:
        """Refuses at once what would wait in vain: a caller can then ask elsewhere.

        An idle model refuses nothing: the estimate may be wrong, and only work corrects it.

        Raises:
            OverloadedError: There is no room, or no time because of others.
            DeadlineError: There would be no time even alone.
        """
        if len(self) >= self._settings.max_queued:
            self._metrics.shed("queue")
            raise OverloadedError(f"{self._name}: {len(self)} inputs are waiting; that is the most")
        lanes = (self._interactive, self._bulk) if bulk else (self._interactive,)
        ahead = sum(waiting.cost for lane in lanes for waiting in lane)
        busy_s = max(self._free_at - now, 0.0)
        alone_s, ready_s = self._pace.seconds(cost), busy_s + self._pace.seconds(ahead + cost)
        if (ahead or busy_s) and ready_s > left_s:
            if alone_s > left_s:
                self._metrics.deadline_expired("queue")
                raise DeadlineError(
                    f"{self._name}: no time was left: it takes {1000 * alone_s:.0f} ms by itself"
                )
            self._metrics.shed("time")
            raise OverloadedError(
                f"{self._name}: those before it take {1000 * ready_s:.0f} ms; it has "
                f"{1000 * left_s:.0f} ms"
            )

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._cut(loop.time())
            if not batch:
                if not len(self):
                    self._arrived.clear()
                continue
            began = loop.time()
            for waiting in batch:
                self._queue.waited(began - waiting.since, bulk=waiting.bulk)
                if waiting.watch is not None:
                    waiting.watch.ran(began - waiting.since, len(batch))
            cost = sum(waiting.cost for waiting in batch)
            self._queue.depth(len(self))
            self._queue.batch(len(batch), cost)
            self._free_at = began + self._pace.seconds(cost)
            if await self._run(batch):
                self._pace.took(cost, loop.time() - began)
            self._free_at = -math.inf
            await self._gather(loop.time() - began)

    async def _gather(self, ran_s: float) -> None:
        """Right after a batch, waits a moment for those who have just been answered.

        They are about to ask again: without it two halves of the callers take turns for ever, in
        batches half as large. An empty queue waits for nobody, and so does a full batch.
        """
        room_s = min(GATHER_SHARE * ran_s, self._settings.gather_ms / 1000)
        until = asyncio.get_running_loop().time() + room_s
        while room_s and 0 < len(self) < self._settings.max_size:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                break
        if len(self):
            self._arrived.set()

    def _cut(self, now: float) -> list[_Waiting[In, Out]]:
        """The next batch: the oldest interactive input and those like it, then bulk.

        Nobody in bulk waits for ever: after `BULK_PATIENCE_S` the bulk goes first, once.
        """
        self._drop(now)
        lanes = [self._interactive, self._bulk]
        if self._bulk and self._bulk[0].since < now - BULK_PATIENCE_S:
            lanes.reverse()
        room = min(self._settings.max_cost, self._pace.size(self._settings.max_run_ms / 1000))
        batch: _Batch[In, Out] = _Batch(self._settings, self._pace, room, now)
        for lane in lanes:
            kept: list[_Waiting[In, Out]] = []
            while lane and len(batch.members) < self._settings.max_size:
                waiting = lane.popleft()
                if not batch.takes(waiting):
                    kept.append(waiting)
            lane.extendleft(reversed(kept))
        return batch.members

    def _drop(self, now: float) -> None:
        """Lets those go who have left, and those who could not be served in time.

        If that leaves nobody, the one with most time is served all the same: the model has nothing
        better to do, and the estimate may be wrong.
        """
        late: list[_Waiting[In, Out]] = []
        for lane in (self._interactive, self._bulk):
            for _ in range(len(lane)):
                waiting = lane.popleft()
                if waiting.result.done():
                    self._metrics.cancelled("queue")
                elif now + self._pace.seconds(waiting.cost) > waiting.deadline:
                    late.append(waiting)
                else:
                    lane.append(waiting)
        if late and not len(self):
            last = max(late, key=lambda waiting: waiting.deadline)
            if last.deadline > now:
                late.remove(last)
                (self._bulk if last.bulk else self._interactive).append(last)
        for waiting in late:
            self._metrics.deadline_expired("queue")
            waited = f"{1000 * (now - waiting.since):.0f} ms in the queue"
            message = f"{self._name}: after {waited} no time was left to run it"
            waiting.result.set_exception(DeadlineError(message))

    async def _run(self, batch: Sequence[_Waiting[In, Out]]) -> bool:
        """Whether the model did all of it at once."""
        loop = asyncio.get_running_loop()
        try:
            items = [waiting.item for waiting in batch]
            results = await loop.run_in_executor(self._thread, self._model, items)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            if len(batch) > 1:
                logger.warning("%s: a batch of %d failed, trying singly", self._name, len(batch))
                for waiting in batch:
                    if not waiting.result.done():
                        await self._run([waiting])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return False
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)
        return True
