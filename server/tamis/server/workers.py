"""Several workers on one port, and the process that keeps them.

Each worker is a server with models of its own; the kernel spreads connections over them. The parent
answers no call: it owns what they share, which is the port, the index and the metrics' endpoint. It
starts a worker that died again, and at SIGHUP replaces all of them, one after another.
"""

import asyncio
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tamis.models.errors import TamisError
from tamis.server import children
from tamis.server.config import ServerSettings
from tamis.server.ports import reserve
from tamis.server.scraping import WorkerMetrics, serve_metrics
from tamis.server.store.opening import open_index
from tamis.server.tasks import together

_LOG = logging.getLogger(__name__)

# How long a worker may take to load its models, in seconds.
START_S = 300.0
# How long it may take to go when its calls have ended, or run out of time, in seconds.
LEAVE_S = 10.0


class WorkerError(TamisError):
    """A worker does not start."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How workers are started.

    Attributes:
        arguments: Of their command line, but for their number.
        drain_s: How long their calls may go on when they leave, in seconds.
        drain: Is called when a caller of one of them asks for Drain.
        metrics: Where they count; None to count nothing that anybody sees.
    """

    arguments: Sequence[str]
    drain_s: float
    drain: Callable[[], None]
    metrics: WorkerMetrics | None = None


class Worker:
    """One worker process, from its start to its end."""

    def __init__(self, number: int, process: Process, recipe: Recipe) -> None:
        """Takes charge of a process; `start` makes one."""
        self.number = number
        self._process = process
        self._recipe = recipe
        self._since = asyncio.get_running_loop().time()
        self._ready = asyncio.Event()
        self._failure = ""
        self._life = asyncio.create_task(self._live())

    @classmethod
    async def start(cls, number: int, recipe: Recipe) -> Self:
        """A worker that is ready: it answers calls.

        Raises:
            WorkerError: It ended, or took longer than `START_S`.
        """
        process = await children.spawn(
            "tamis.server.worker",
            *("--number", str(number), *recipe.arguments),
            stdout=PIPE,
            environment=recipe.metrics.environment if recipe.metrics else None,
        )
        worker = cls(number, process, recipe)
        try:
            await children.until_ready(process, worker._ready.wait(), START_S)
        except (children.EndedError, TimeoutError) as error:
            await worker.stop(0)
            raise WorkerError(f"worker {number}: {worker._failure or error}") from error
        except asyncio.CancelledError:
            await worker.stop(0)
            raise
        return worker

    async def ended(self) -> tuple[int, float]:
        """Waits for its end; gives the exit status, and how long it lived, in seconds."""
        await asyncio.shield(self._life)
        return await self._process.wait(), asyncio.get_running_loop().time() - self._since

    async def stop(self, within_s: float | None = None) -> None:
        """Lets its calls finish, for as long as the settings say, and ends it."""
        patience_s = self._recipe.drain_s + LEAVE_S if within_s is None else within_s
        await children.end(self._process, patience_s)
        await self._life

    async def _live(self) -> None:
        """Hears what it says until it ends."""
        if self._process.stdout is None:
            return
        async for line in self._process.stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            match word:
                case "ready":
                    self._ready.set()
                case "drain":
                    self._recipe.drain()
                case "failed":
                    self._failure = rest
                case _:
                    _LOG.info("worker %d: %s %s", self.number, word, rest)
        await self._process.wait()
        if self._recipe.metrics:
            self._recipe.metrics.ended(self._process.pid)


class Crew:
    """The workers: started together, again when they die, and replaced one after another.

    An asynchronous context manager: the workers are ready when the block begins, and have drained
    when it ends.
    """

    def __init__(self, count: int, recipe: Recipe) -> None:
        """Takes note of how many there shall be; starts nothing."""
        self._numbers = range(1, count + 1)
        self._recipe = recipe
        self._workers: dict[int, Worker] = {}
        self._leaving: set[Worker] = set()
        # Held while the worker of a number is being replaced by another.
        self._changing = {number: asyncio.Lock() for number in self._numbers}
        self._keeping: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Starts the workers.

        Raises:
            WorkerError: One of them does not start; the others are stopped.
        """
        try:
            await together(*(self._start(number) for number in self._numbers))
        except BaseException:
            await self._stop()
            raise
        self._keeping = [asyncio.create_task(self._keep(number)) for number in self._numbers]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await cancelled(*self._keeping)
        await self._stop()

    async def renew(self) -> None:
        """Replaces each worker by a new one, and lets it go when that one is ready.

        Where a new one does not start, the old ones stay, and the log says why.
        """
        for number in self._numbers:
            async with self._changing[number]:
                old = self._workers[number]
                if not await self._started(number):
                    _LOG.error("worker %d and those after it stay as they are", number)
                    return
                self._leaving.add(old)
            await old.stop()
            self._leaving.discard(old)

    async def _start(self, number: int) -> None:
        self._workers[number] = await Worker.start(number, self._recipe)
        _LOG.info("worker %d is ready", number)

    async def _keep(self, number: int) -> None:
        """Starts a worker again whenever it ends unasked, after a pause."""
        backoff = children.Backoff()
        while True:
            worker = self._workers[number]
            status, lived_s = await worker.ended()
            async with self._changing[number]:
                if self._workers[number] is not worker:
                    continue  # it was replaced, and has left as it should
                _LOG.error("worker %d ended with status %d; starting it again", number, status)
                await backoff.pause(lived_s)
                while not await self._started(number):
                    await backoff.pause()

    async def _started(self, number: int) -> bool:
        try:
            await self._start(number)
        except (WorkerError, OSError) as error:
            _LOG.error("%s", error)
            return False
        return True

    async def _stop(self) -> None:
        workers = {*self._workers.values(), *self._leaving}
        await asyncio.gather(*(worker.stop() for worker in workers))


async def serve_workers(
    settings: ServerSettings, path: Path, announce: Callable[[str], None]
) -> None:
    """Keeps the workers until SIGINT, SIGTERM or a caller's Drain; SIGHUP replaces them.

    Args:
        settings: What this process and the workers have in common.
        path: The file where a worker finds the rest, when it starts.
        announce: Is called with the address when all workers answer.

    Raises:
        SettingsError: The port cannot be had.
        StoreUnavailableError: The index does not start.
        WorkerError: A worker does not start.
    """
    stop, hang_up = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    async with AsyncExitStack() as stack:
        reserved, address = reserve(settings.listen)
        stack.enter_context(reserved)
        metrics = None
        if settings.metrics_port:
            metrics = WorkerMetrics(Path(stack.enter_context(TemporaryDirectory(prefix="tamis-"))))
            serve_metrics(settings.metrics_port, metrics.registry)
        index = await stack.enter_async_context(open_index(settings.store))
        recipe = Recipe(
            arguments=(
                *("--workers", str(settings.workers), "--settings", str(path)),
                *("--listen", address, "--index", index, "--data", settings.store.folder),
            ),
            drain_s=settings.drain_s,
            drain=stop.set,
            metrics=metrics,
        )
        crew = await stack.enter_async_context(Crew(settings.workers, recipe))
        announce(address)
        renewing = asyncio.create_task(_renew(crew, hang_up))
        await stop.wait()
        _LOG.info("draining")
        await cancelled(renewing)


async def _renew(crew: Crew, hang_up: asyncio.Event) -> None:
    while True:
        await hang_up.wait()
        hang_up.clear()
        await crew.renew()


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancels tasks and waits until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
