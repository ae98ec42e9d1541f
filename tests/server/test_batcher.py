import asyncio
import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tamis.server.batcher import Batcher
from tamis.server.config import BatchSettings
from tamis.server.errors import DeadlineError, OverloadedError
from tamis.server.pace import Pace


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


def echo(model: HeldModel, pace: Pace | None = None, **settings: Any) -> Batcher[int, int]:
    settings = {"free_padding": 1_000} | settings
    own = BatchSettings(**settings)
    return Batcher(model, own, name="echo", cost=lambda item: item, pace=pace)


class SecondEach(Pace):
    """Every unit of cost takes a second, whatever is seen."""

    def __init__(self) -> None:
        super().__init__()
        for size in (1, 2):
            super().took(size, size)

    def took(self, size: float, seconds: float) -> None:
        pass


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


async def test_a_batch_holds_inputs_of_like_cost() -> None:
    model = HeldModel()
    async with (
        echo(model, max_padding=0.25, free_padding=0) as batcher,
        asyncio.TaskGroup() as callers,
    ):
        callers.create_task(batcher.submit(0))
        await model.running()
        for item in (10, 100, 8, 90, 9):
            callers.create_task(batcher.submit(item))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[0], [10, 8, 9], [100, 90]]


async def test_a_batch_runs_no_longer_than_it_may() -> None:
    model = HeldModel()
    async with (
        echo(model, pace=SecondEach(), max_run_ms=5_000) as batcher,
        asyncio.TaskGroup() as callers,
    ):
        callers.create_task(batcher.submit(7))  # alone it may
        await model.running()
        for item in (3, 2, 1):
            callers.create_task(batcher.submit(item))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[7], [3, 2], [1]]


async def test_an_input_that_cannot_be_ready_in_time_is_not_run() -> None:
    """When it came, it seemed that it could."""

    class Slowing(SecondEach):
        quick = True

        def seconds(self, size: float) -> float:
            return 0.0 if self.quick else super().seconds(size)

        def took(self, size: float, seconds: float) -> None:
            self.quick = False

    model, now = HeldModel(), asyncio.get_running_loop().time()
    async with echo(model, pace=Slowing()) as batcher:
        first = asyncio.create_task(batcher.submit(0))
        await model.running()
        late = asyncio.create_task(batcher.submit(9, deadline=now + 5))
        early = asyncio.create_task(batcher.submit(2, deadline=now + 500))
        await asyncio.sleep(0)
        model.release()
        with pytest.raises(DeadlineError, match=r"echo: after \d+ ms in the queue no time"):
            await late
        assert (await first, await early) == (0, 2)
    assert model.batches == [[0], [2]]


async def test_an_input_that_would_wait_in_vain_is_refused_at_once() -> None:
    model, now = HeldModel(), asyncio.get_running_loop().time()
    async with echo(model, pace=SecondEach()) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(3))
        await model.running()
        callers.create_task(batcher.submit(4, deadline=now + 60))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match=r"echo: those before it take \d+ ms; it has"):
            await batcher.submit(1, deadline=now + 7)
        callers.create_task(batcher.submit(1, deadline=now + 60))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[3], [4], [1]]


@pytest.mark.parametrize(
    ("gather_ms", "batches"),
    [(60_000, [[1], [1, 1, 1, 1], [1, 1, 1]]), (0, [[1], [1, 1, 1], [1], [1, 1, 1]])],
)
async def test_after_a_batch_its_callers_may_join_the_next_one(
    monkeypatch: pytest.MonkeyPatch, gather_ms: float, batches: list[list[int]]
) -> None:
    """Else two halves of the callers take turns for ever."""
    monkeypatch.setattr("tamis.server.batcher.GATHER_SHARE", math.inf)
    model = HeldModel()

    async def caller() -> None:
        await batcher.submit(1)
        await asyncio.sleep(0)  # it takes a moment to ask again
        await batcher.submit(1)

    async with (
        echo(model, gather_ms=gather_ms, max_size=4) as batcher,
        asyncio.TaskGroup() as callers,
    ):
        callers.create_task(caller())
        await model.running()
        for _ in range(3):
            callers.create_task(caller())
        await asyncio.sleep(0)
        model.release()
    assert model.batches[: len(batches)] == batches


async def test_the_only_input_is_run_though_it_may_be_late() -> None:
    soon = asyncio.get_running_loop().time() + 5
    model = HeldModel()
    model.release()
    async with echo(model, pace=SecondEach()) as batcher:
        assert await batcher.submit(9, deadline=soon) == 9
        with pytest.raises(DeadlineError):
            await batcher.submit(9, deadline=soon - 10)


async def test_a_batch_makes_none_of_its_members_late() -> None:
    model, now = HeldModel(), asyncio.get_running_loop().time()
    async with echo(model, pace=SecondEach()) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        callers.create_task(batcher.submit(20, deadline=now + 100))
        callers.create_task(batcher.submit(90))
        await asyncio.sleep(0)
        model.release()
    assert model.batches == [[0], [20], [90]]


async def test_what_watches_is_told_how_long_its_input_waited_and_with_how_many_it_ran() -> None:
    class Told:
        def ran(self, waited_s: float, batch_size: int) -> None:
            told.append((waited_s, batch_size))

    told: list[tuple[float, int]] = []
    model = HeldModel()
    async with echo(model) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(0))
        await model.running()
        began = asyncio.get_running_loop().time()
        for item in (1, 2):
            callers.create_task(batcher.submit(item, watch=Told()))
        await asyncio.sleep(0)
        model.release()
    took_s = asyncio.get_running_loop().time() - began
    assert [size for _, size in told] == [2, 2]
    assert all(0 < waited_s <= took_s for waited_s, _ in told)


async def test_a_cancel_storm_wastes_no_batch_but_the_one_that_runs() -> None:
    model = HeldModel()
    async with echo(model, max_size=4) as batcher:
        callers = [asyncio.create_task(batcher.submit(item)) for item in range(100)]
        await model.running()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        model.release()
        assert await batcher.submit(7) == 7
    assert len(model.batches) == 2
    assert len(batcher) == 0
