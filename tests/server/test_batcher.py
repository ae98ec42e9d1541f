import asyncio
import threading
from collections.abc import Sequence

import pytest

from tamis.server.batcher import Batcher
from tamis.server.config import BatchSettings
from tamis.server.errors import OverloadedError


class HeldModel:
    """Echoes its batches, but only when told to: no test here sleeps."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._running, self._release = threading.Event(), threading.Event()

    def __call__(self, batch: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(batch))
        self._running.set()
        self._release.wait()
        return batch

    async def running(self) -> None:
        await asyncio.to_thread(self._running.wait)

    def release(self) -> None:
        self._release.set()


def echo(model: HeldModel, **settings: int) -> Batcher[int, int]:
    return Batcher(model, BatchSettings(**settings), name="echo", cost=lambda item: item)


async def test_what_gathers_while_the_model_is_busy_shares_a_batch() -> None:
    model = HeldModel()
    async with echo(model, max_size=3) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        later = [callers.create_task(batcher.submit(item)) for item in (1, 2, 3, 4)]
        await asyncio.sleep(0)
        model.release()
    assert [task.result() for task in later] == [1, 2, 3, 4]
    assert model.batches == [[0], [1, 2, 3], [4]]


async def test_a_batch_keeps_to_its_cost_but_one_large_input_still_runs() -> None:
    model = HeldModel()
    async with echo(model, max_cost=10) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        for item in (6, 4, 1, 99):
            callers.create_task(batcher.submit(item))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[0], [6, 4], [1], [99]]


async def test_the_interactive_go_before_work_in_bulk() -> None:
    model = HeldModel()
    async with echo(model, max_size=2) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        for item, bulk in ((1, True), (2, True), (3, False)):
            callers.create_task(batcher.submit(item, bulk=bulk))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[0], [3, 1], [2]]


async def test_a_full_queue_refuses_at_once() -> None:
    model = HeldModel()
    async with echo(model, max_size=1, max_queued=1) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        callers.create_task(batcher.submit(1))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="echo: 1 inputs are waiting"):
            await batcher.submit(2)
        model.release()


async def test_a_bad_input_fails_alone() -> None:
    model = HeldModel()

    def picky(batch: Sequence[int]) -> Sequence[int]:
        model(batch)
        if 13 in batch:
            raise ZeroDivisionError
        return batch

    async with Batcher(picky, BatchSettings(), name="picky") as batcher:
        first = asyncio.create_task(batcher.submit(0))
        await model.running()
        rest = asyncio.gather(*(batcher.submit(i) for i in (1, 13, 2)), return_exceptions=True)
        await asyncio.sleep(0)
        model.release()
        assert await first == 0
        one, bad, two = await rest
    assert (one, two) == (1, 2)
    assert isinstance(bad, ZeroDivisionError)


async def test_an_input_whose_caller_has_gone_never_reaches_the_model() -> None:
    model = HeldModel()
    async with echo(model, max_size=1) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(1))
        await model.running()
        gone = callers.create_task(batcher.submit(2))
        callers.create_task(batcher.submit(3))
        await asyncio.sleep(0)
        gone.cancel()
        model.release()
    assert model.batches == [[1], [3]]
    assert len(batcher) == 0
