"""Two ways to load a server: at a rate, whatever it answers, and with so many callers that wait."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from load_report import Report

Arrivals = Literal["poisson", "constant"]
IN_FLIGHT = 10_000  # calls, at most: a server that answers nothing must not fill the memory


@dataclass(frozen=True, slots=True)
class Ended:
    """How one call ended.

    Attributes:
        code: The gRPC status, by name.
        first_at: When its first message came, by the event loop's clock.
        skipped: Whether a stage was left out for want of time or room.
    """

    code: str
    first_at: float | None = None
    skipped: bool = False


Call = Callable[[int], Awaitable[Ended]]


def starts(
    rate: float, seconds: float, arrivals: Arrivals, rng: random.Random | None = None
) -> Iterator[float]:
    """When calls are meant to begin, in seconds from the beginning.

    Args:
        rate: Calls a second, on average.
        seconds: How long.
        arrivals: ``poisson``, as independent users come, or ``constant``.
        rng: Draws the gaps; a fixed seed by default, so that two runs offer the same.
    """
    rng = rng or random.Random(0)
    at, number = 0.0, 0
    while True:
        at = at + rng.expovariate(rate) if arrivals == "poisson" else number / rate
        if at >= seconds:
            return
        yield at
        number += 1


async def open_loop(
    call: Call, times: Iterable[float], *, deadline_s: float, in_flight: int = IN_FLIGHT
) -> Report:
    """Begins a call at each of `times`, however many are under way, and waits for all of them.

    What a call takes counts from when it was meant to begin. A server that stalls therefore pays
    for every call that it kept from beginning, as its users would.

    Args:
        call: Makes the call of that number; it ends by itself.
        times: When, in seconds from now, in order.
        deadline_s: How long a call may take to be of use.
        in_flight: Calls at once, at most; beyond, calls are counted as not sent.
    """
    loop = asyncio.get_running_loop()
    report, began, last = Report(deadline_s), loop.time(), 0.0
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int, meant: float) -> None:
        report.lag.add(loop.time() - meant)
        ended = await call(number)
        first_s = None if ended.first_at is None else ended.first_at - meant
        last_s = loop.time() - meant
        report.ended(ended.code, first_s=first_s, last_s=last_s, skipped=ended.skipped)

    async with asyncio.TaskGroup() as group:
        for number, last in enumerate(times):
            # Even when it is late: answers must be read too.
            await asyncio.sleep(max(0.0, began + last - loop.time()))
            if len(under_way) >= in_flight:
                report.unsent += 1
                continue
            task = group.create_task(one(number, began + last))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        report.seconds = max(last, loop.time() - began)
    return report


async def closed_loop(call: Call, callers: int, seconds: float, *, deadline_s: float) -> Report:
    """So many callers, each of whom makes its next call when the last one is answered."""
    loop = asyncio.get_running_loop()
    report, began, numbers = Report(deadline_s), loop.time(), iter(range(1 << 62))

    async def caller() -> None:
        while (start := loop.time()) < began + seconds:
            ended = await call(next(numbers))
            first_s = None if ended.first_at is None else ended.first_at - start
            last_s = loop.time() - start
            report.ended(ended.code, first_s=first_s, last_s=last_s, skipped=ended.skipped)

    await asyncio.gather(*(caller() for _ in range(callers)))
    report.seconds = loop.time() - began
    return report
