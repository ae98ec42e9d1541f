"""Runs a reranker in a thread, as far as time and calls allow, and keeps its best order so far."""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from tamis.models.ranking import Bounds
from tamis.models.rerankers import Ranking, Reranker
from tamis.models.runtimes.usage import metered
from tamis.models.types import Candidate, Query
from tamis.server.errors import DeadlineError
from tamis.server.search import Clock

logger = logging.getLogger(__name__)

SPARE_S = 0.02  # how long before the deadline the best order so far is taken
SPARE_SHARE = 0.1  # of the time that is left, where that is less


def clock_until(timeout_s: float | None) -> Clock:
    """The clock of a call that may take so long from now."""
    if timeout_s is None:
        return Clock()
    return Clock(asyncio.get_running_loop().time() + timeout_s)


async def best_ranking(
    reranker: Reranker,
    query: Query,
    candidates: Sequence[Candidate],
    clock: Clock,
    *,
    max_calls: int | None = None,
    report: Callable[[Ranking], None] | None = None,
) -> list[Candidate]:
    """The reranker's order, or its best so far when the clock's deadline is near.

    Whoever leaves early, by deadline or cancellation, leaves the thread behind: it stops before the
    model's next batch.

    Args:
        reranker: The method.
        query: What is asked.
        candidates: The first stage's order.
        clock: Has the deadline, and takes down what it cost and why it was cut off.
        max_calls: Prompts that the model may be given.
        report: Is called on the event loop with each order that is not the last one.

    Raises:
        DeadlineError: There was no order yet when the time was up.
        TamisError: The method failed before it had one.
    """
    loop = asyncio.get_running_loop()
    started, left = time.perf_counter(), clock.deadline - loop.time()
    stop = threading.Event()
    latest: list[Ranking] = []

    def take_down() -> None:
        clock.model_s = time.perf_counter() - started
        clock.calls, clock.tokens = usage.calls, usage.tokens

    def arrived(ranking: Ranking) -> None:
        latest[:] = [ranking]
        take_down()
        if report is not None and not ranking.done and not stop.is_set():
            report(ranking)

    def work() -> None:
        bounds = Bounds(max_calls=max_calls, stopped=stop.is_set)
        for ranking in reranker.rankings(query, candidates, bounds):
            loop.call_soon_threadsafe(arrived, ranking)

    with metered() as usage:
        thread = asyncio.create_task(asyncio.to_thread(work))
        try:
            timeout = None if left == math.inf else left - min(SPARE_S, SPARE_SHARE * left)
            await asyncio.wait([thread], timeout=timeout)
        finally:
            stop.set()
            thread.add_done_callback(_retrieve)
            take_down()
    if not thread.done():
        clock.cut_off = f"its {1000 * left:.0f} ms were over"
        if not latest:
            raise DeadlineError(f"{clock.cut_off} before it had an order")
    elif error := thread.exception():
        clock.cut_off = "its model failed"
        if not latest:
            raise error
        logger.error("a reranker failed on its way", exc_info=error)
    elif not latest[0].done:
        clock.cut_off = f"its model may be called {max_calls} times"
    return latest[0].candidates


def _retrieve(thread: asyncio.Task[None]) -> None:
    """Takes the error of a thread that nobody may be waiting for any more."""
    if not thread.cancelled():
        thread.exception()
