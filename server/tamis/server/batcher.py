"""Groups single inputs into batches, so that a model runs once for many of them."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from tamis.server.config import BatchSettings
from tamis.server.errors import OverloadedError
from tamis.server.metrics import Metrics

In = TypeVar("In")
Out = TypeVar("Out")

logger = logging.getLogger(__name__)

BULK_PATIENCE_S = 0.2  # after this long, work in bulk goes before the interactive once


@dataclass(slots=True)
class _Waiting(Generic[In, Out]):
    """An input in the queue."""

    item: In
    cost: int
    since: float
    bulk: bool
    result: asyncio.Future[Out] = field(repr=False)


class Batcher(Generic[In, Out]):
    """Runs `model` on batches of what `submit` is given. Use it as an async context manager.

    `model` maps a batch to as many results, in the same order. It runs in a thread of its own, one
    batch at a time: while it is busy the next batch gathers, and when it is idle nothing waits.
    An input whose caller has gone (cancelled, or past its deadline) is dropped when the batch is
    cut. A batch that fails runs again one by one, so that a bad input fails alone.
    """

    def __init__(
        self,
        model: Callable[[Sequence[In]], Sequence[Out]],
        settings: BatchSettings,
        *,
        name: str,
        cost: Callable[[In], int] = lambda _: 1,
        metrics: Metrics | None = None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._name = name
        self._cost = cost
        self._metrics = metrics or Metrics()
        self._queue = self._metrics.queue(name)
        self._interactive: deque[_Waiting[In, Out]] = deque()
        self._bulk: deque[_Waiting[In, Out]] = deque()
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

    async def submit(self, item: In, *, bulk: bool = False) -> Out:
        """The model's result for one input. Cancel it to take the input back.

        Raises:
            OverloadedError: `max_queued` inputs are waiting already.
        """
        if len(self) >= self._settings.max_queued:
            self._metrics.shed("queue")
            raise OverloadedError(f"{self._name}: {len(self)} inputs are waiting; that is the most")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(item, self._cost(item), loop.time(), bulk, loop.create_future())
        (self._bulk if bulk else self._interactive).append(waiting)
        self._arrived.set()
        return await waiting.result

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._cut()
            if not batch:
                self._arrived.clear()
                continue
            now = asyncio.get_running_loop().time()
            for waiting in batch:
                self._queue.waited(now - waiting.since, bulk=waiting.bulk)
            self._queue.depth(len(self))
            self._queue.batch(len(batch), sum(waiting.cost for waiting in batch))
            await self._run(batch)

    def _cut(self) -> list[_Waiting[In, Out]]:
        """The next batch: the interactive first, but nobody in bulk waits for ever."""
        batch: list[_Waiting[In, Out]] = []
        cost = 0
        patience = asyncio.get_running_loop().time() - BULK_PATIENCE_S
        lanes = [self._interactive, self._bulk]
        if self._bulk and self._bulk[0].since < patience:
            lanes.reverse()
        for lane in lanes:
            while lane and len(batch) < self._settings.max_size:
                if lane[0].result.done():  # its caller has gone
                    lane.popleft()
                    self._metrics.cancelled("queue")
                    continue
                if batch and cost + lane[0].cost > self._settings.max_cost:
                    return batch
                cost += lane[0].cost
                batch.append(lane.popleft())
        return batch

    async def _run(self, batch: Sequence[_Waiting[In, Out]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            items = [waiting.item for waiting in batch]
            results = await loop.run_in_executor(self._thread, self._model, items)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            if len(batch) > 1:
                logger.warning("%s: a batch of %d failed, trying singly", self._name, len(batch))
                for waiting in batch:
                    await self._run([waiting])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)
