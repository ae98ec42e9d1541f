"""What happens to a query: stages in order, each of which may be left out but for the first."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from tamis.models.errors import TamisError
from tamis.server import budget
from tamis.server.errors import INTERNAL, DeadlineError, OverloadedError, status_of
from tamis.server.pace import Pace
from tamis.server.search import Clock, Report, Search
from tamis.v1 import stage_pb2 as pb

logger = logging.getLogger(__name__)

CUT_OFF = 2.0  # how long a stage that was stopped would have taken, by guess, in what it had


class SkipStage(TamisError):  # noqa: N818 - not a failure: the stage has nothing to do
    """Raised by a stage that leaves itself out."""

    def __init__(self, reason: pb.SkipReason.ValueType, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Stage(Protocol):
    """One step: takes a search and returns what becomes of it. Never changes its argument."""

    @property
    def kind(self) -> pb.Stage.ValueType:
        """Which stage it is."""
        ...

    @property
    def method(self) -> str:
        """The method that does it, such as `max_sim`."""
        ...

    @property
    def pace(self) -> Pace:
        """How long it takes, by the documents that it looks at."""
        ...

    def time_s(self, search: Search) -> float | None:
        """How long it may take for this search, in seconds; None for its part of the deadline."""
        ...

    def size(self, search: Search) -> int:
        """How many documents it would look at; 0 where it has nothing to do."""
        ...

    def shortened(self, search: Search, size: int) -> Search | None:
        """The search with no more than `size` documents to look at; None where that is useless."""
        ...

    async def __call__(self, search: Search) -> Search:
        """Runs the step.

        Raises:
            SkipStage: There is nothing to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has a result.

    Attributes:
        stage: Which.
        search: What it made.
        before: What it was given.
        seconds: How long it took.
        depth: How many documents it looked at.
        shortened: Whether that is fewer, or less closely, than was asked for, because time or the
            model's calls were short.
        partial: Whether it goes on, and another result of it follows.
        settled: The ranks of a partial result that can no longer change.
        method: What made a partial result, where that is not the stage's own method.
    """

    stage: Stage
    search: Search
    before: Search
    seconds: float
    depth: int = 0
    shortened: bool = False
    partial: bool = False
    settled: range = range(0)
    method: str = ""


@dataclass(frozen=True, slots=True)
class StageLeftOut:
    """A stage was left out."""

    kind: pb.Stage.ValueType
    reason: pb.SkipReason.ValueType
    message: str


S = TypeVar("S")
Event = StageDone | StageLeftOut
Emit = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, in order. The first one must succeed; a later one that cannot is left out.

    `run` writes its events through `emit` and goes on only when an event has been written, so the
    first result is on its way before the second stage begins.

    Attributes:
        stages: In order.
        stream: Whether everybody sees the first stage's partial results, not only those who ask.
    """

    stages: Sequence[Stage]
    stream: bool = False

    def stage(self, of: type[S]) -> S:
        """The stage of that class."""
        return next(stage for stage in self.stages if isinstance(stage, of))

    async def run(self, search: Search, emit: Emit, *, deadline: float | None = None) -> Search:
        """The search after the last stage.

        Args:
            search: The query.
            emit: Takes each event as it happens.
            deadline: When all must be over, on the event loop's clock; None for never.

        Raises:
            TamisError: The first stage failed.
        """
        last = search.options.stop_after
        stages = [stage for stage in self.stages if last is None or stage.kind <= last]
        for number, stage in enumerate(stages):
            # The first stage is not held back for others: without it there is no answer.
            later = stages[number + 1 :] if number else None
            before = time.perf_counter()
            try:
                share = _share(stage, later, search, deadline)
                async with _Partial(emit, StageDone(stage, search, search, 0, share.size)) as part:
                    shown = search.options.partial_results or (self.stream and number == 0)
                    after = await _bounded(stage, share, part.report if shown else None)
            except Exception as error:
                if number == 0:
                    raise
                await emit(_left_out(stage, error))
                continue
            seconds, cut_off = time.perf_counter() - before, bool(after.clock.cut_off)
            known = max(CUT_OFF * seconds, stage.pace.seconds(share.size)) if cut_off else seconds
            stage.pace.took(share.size, known)
            shortened = share.shortened or cut_off
            await emit(StageDone(stage, after, search, seconds, share.size, shortened))
            search = replace(after, options=search.options) if share.shortened else after
        return search


def _share(
    stage: Stage, later: Sequence[Stage] | None, search: Search, deadline: float | None
) -> budget.Share:
    """What the stage is given of the time that is left.

    Raises:
        DeadlineError: It could do nothing with it.
    """
    own = stage.time_s(search)
    left = math.inf if deadline is None else deadline - asyncio.get_running_loop().time()
    if own is not None and own < left:  # a time that the request fixes is the stage's alone
        left, later = own, later and ()
    if left <= 0:
        raise DeadlineError("no time was left for it")
    if later is None or left == math.inf:
        return budget.Share(search, left, stage.size(search))
    return budget.share(stage, later, search, left)


class _Partial:
    """Writes a stage's partial results, beside its work; at the block's end all are written.

    One that comes while another is being written is left out: a slow caller delays nothing.
    """

    def __init__(self, emit: Emit, first: StageDone) -> None:
        self._emit = emit
        self._first = first
        self._started = time.perf_counter()
        self._writing: asyncio.Future[None] | None = None

    def report(self, search: Search, settled: range, method: str = "") -> None:
        if self._writing is None or self._writing.done():
            seconds = time.perf_counter() - self._started
            event = replace(
                self._first,
                search=search,
                seconds=seconds,
                partial=True,
                settled=settled,
                method=method,
            )
            self._writing = asyncio.ensure_future(self._emit(event))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writing is None:
            return
        if kind is asyncio.CancelledError:
            self._writing.cancel()
        else:
            await self._writing


async def _bounded(stage: Stage, share: budget.Share, report: Report | None) -> Search:
    if share.seconds == math.inf:
        return await stage(replace(share.search, clock=Clock(), report=report))
    deadline = asyncio.get_running_loop().time() + share.seconds
    timeout = asyncio.timeout_at(deadline)
    try:
        async with timeout:
            return await stage(replace(share.search, clock=Clock(deadline), report=report))
    except TimeoutError:
        if timeout.expired():
            stage.pace.took(share.size, CUT_OFF * share.seconds)
            message = f"it did not end within {1000 * share.seconds:.0f} ms"
            raise DeadlineError(message) from None
        raise


def _left_out(stage: Stage, error: Exception) -> StageLeftOut:
    match error:
        case SkipStage():
            return StageLeftOut(stage.kind, error.reason, str(error))
        case DeadlineError():
            reason = pb.SKIP_REASON_BUDGET_EXCEEDED
        case OverloadedError():
            reason = pb.SKIP_REASON_OVERLOADED
        case _:
            reason = pb.SKIP_REASON_MODEL_UNAVAILABLE
    foreseen = status_of(error) is not INTERNAL
    if not foreseen:
        logger.error("%s failed", stage.method, exc_info=error)
    message = str(error) if foreseen else "the method failed"
    return StageLeftOut(stage.kind, reason, message)
