"""What happens to a query: stages in order, each of which may be left out but for the first."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from tamis.models.errors import TamisError
from tamis.server.errors import INTERNAL, DeadlineError, OverloadedError, status_of
from tamis.server.search import Clock, Search
from tamis.v1 import stage_pb2 as pb

logger = logging.getLogger(__name__)


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

    def time_s(self, search: Search) -> float | None:
        """How long it may take for this search, in seconds; None for all that is left."""
        ...

    async def __call__(self, search: Search) -> Search:
        """Runs the step.

        Raises:
            SkipStage: There is nothing to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has a result."""

    stage: Stage
    search: Search
    before: Search
    seconds: float


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
    """

    stages: Sequence[Stage]

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
        for number, stage in enumerate(self.stages):
            if last is not None and stage.kind > last:
                break
            before = time.perf_counter()
            try:
                after = await self._bounded(stage, search, deadline)
            except Exception as error:
                if number == 0:
                    raise
                await emit(_left_out(stage, error))
                continue
            seconds = time.perf_counter() - before
            await emit(StageDone(stage, after, search, seconds))
            search = replace(after, clock=Clock())
        return search

    async def _bounded(self, stage: Stage, search: Search, deadline: float | None) -> Search:
        own = stage.time_s(search)
        now = asyncio.get_running_loop().time()
        ends = [end for end in (deadline, None if own is None else now + own) if end is not None]
        end = min(ends, default=None)
        if end is not None and end <= now:
            raise DeadlineError("no time was left for it")
        timeout = asyncio.timeout_at(end)
        try:
            async with timeout:
                return await stage(search)
        except TimeoutError:
            if timeout.expired():
                raise DeadlineError(f"it did not end within {1000 * (end - now):.0f} ms") from None  # type: ignore[operator]
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
