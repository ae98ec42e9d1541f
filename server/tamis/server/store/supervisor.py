"""Keeps one engine process alive for as long as the server runs."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from qdrant_client.grpc import HealthCheckRequest, QdrantStub

from tamis.server import children
from tamis.server.store import StoreUnavailableError

_LOG = logging.getLogger(__name__)
_START: tuple[tuple[str, int], ...] = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
)
# How often the engine is asked for a sign, in seconds.
_LOOK_S = 5.0
# How long the engine may take to open its collections, in seconds.
_START_S = 120.0
# How long it may take to write what is left and go, in seconds.
_STOP_S = 30.0
# What the kernel allows for a socket's path on Linux (108) and macOS (104), less the ending zero.
_LONGEST_PATH = 103


class Supervisor:
    """An engine process: started, watched, started again when it dies or hangs, and stopped.

    An asynchronous context manager. Any number of stores, in this process or in others, reach the
    engine at `target`; calls that are in flight when it dies are repeated by gRPC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_queued: int = 1_024,
        min_free_bytes: int = 256 << 20,
        hung_after_s: float = 30.0,
    ) -> None:
        """Takes note of the folder that holds the collections; starts nothing.

        Args:
            folder: Nobody else may use it.
            max_queued: Calls that wait for the engine; the next one is refused.
            min_free_bytes: What writes leave free of the folder's disk.
            hung_after_s: How long the engine may give no sign before it is killed, in seconds.
        """
        self._folder = folder
        self._arguments = (
            *("--max-calls", str(max_queued), "--min-free-bytes", str(min_free_bytes)),
        )
        self._hung_after_s = hung_after_s
        self._sockets: Path | None = None
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._reading: asyncio.Task[None] | None = None

    @property
    def target(self) -> str:
        """Where the engine is, as gRPC writes it: ``unix:/tmp/tamis-x/engine.sock``."""
        return f"unix:{self._socket}"

    @property
    def pid(self) -> int:
        """The engine's process id; another one after a restart."""
        if self._process is None:
            raise StoreUnavailableError("the engine is not running")
        return self._process.pid

    @property
    def _killed(self) -> bool:
        """Whether a signal has ended the process."""
        return self._process is not None and (self._process.returncode or 0) < 0

    @property
    def _socket(self) -> Path:
        if self._sockets is None:
            raise StoreUnavailableError("the engine is not running")
        return self._sockets / "engine.sock"

    async def __aenter__(self) -> Self:
        """Starts the engine and waits until it answers.

        Raises:
            StoreUnavailableError: It cannot start; the message says why.
        """
        self._sockets = await asyncio.to_thread(_private_folder)
        try:
            for last in (False, False, True):  # a collection that ends it twice is left closed
                try:
                    await self._start()
                    break
                except StoreUnavailableError:
                    if last or not self._killed:
                        raise
        except BaseException:
            await self._stop()
            raise
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Lets the engine write what is left, and stops it."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._stop()

    async def _start(self) -> None:
        """Starts a process and returns when it answers."""
        self._said.clear()
        self._process = process = await children.spawn(
            "tamis.server.store.engine",
            *("--folder", str(self._folder), "--socket", str(self._socket), "--until-stdin-ends"),
            *self._arguments,
            stderr=PIPE,
        )
        self._reading = asyncio.create_task(self._read(process))
        try:
            await children.until_ready(process, self._answered(), _START_S)
        except children.EndedError as error:
            await self._reading
            raise StoreUnavailableError(f"the engine cannot start: {self._last_words}") from error
        except TimeoutError as error:
            message = f"the engine did not answer within {_START_S:g} s"
            raise StoreUnavailableError(message) from error

    @property
    def _last_words(self) -> str:
        return self._said[-1] if self._said else "it said nothing"

    async def _answered(self) -> None:
        """Returns when the engine gives a sign; that its queue is full is one."""
        async with grpc.aio.insecure_channel(self.target, options=_START) as channel:
            stub = QdrantStub(channel)  # type: ignore[no-untyped-call]
            try:
                await stub.HealthCheck(HealthCheckRequest(), wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise

    async def _read(self, process: Process) -> None:
        """Passes on what the engine says, and remembers the end of it."""
        if process.stderr is None:
            return
        level = logging.INFO
        async for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            self._said.append(text)
            # Lines without a level, as those of a traceback, go with the one before.
            level = logging.getLevelNamesMapping().get(text.partition(" ")[0], level)
            _LOG.log(level, "engine: %s", text)

    async def _watch(self) -> None:
        """Starts the engine again, whenever it ends, after a pause."""
        clock, backoff = asyncio.get_running_loop().time, children.Backoff()
        while self._process:
            since = clock()
            status = await self._ended(self._process)
            _LOG.error("the engine ended with status %d; starting it again", status)
            await backoff.pause(clock() - since)
            while not await self._started():
                await backoff.pause()

    async def _ended(self, process: Process) -> int:
        """How the process ended, by itself or because it gave no sign."""
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), min(_LOOK_S, self._hung_after_s))
            try:
                await asyncio.wait_for(self._answered(), self._hung_after_s)
            except TimeoutError:
                _LOG.error("the engine gave no sign for %g s; killing it", self._hung_after_s)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            except grpc.aio.AioRpcError as error:
                _LOG.warning("the engine answered %s", error.code().name)

    async def _started(self) -> bool:
        try:
            await self._start()
        except (StoreUnavailableError, OSError) as error:
            _LOG.error("%s", error)
            await self._end()
            return False
        return True

    async def _stop(self) -> None:
        await self._end()
        if self._sockets:
            await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)
            self._sockets = None

    async def _end(self) -> None:
        """Stops the process, by force if it does not hear."""
        process, self._process = self._process, None
        if process is None:
            return
        await children.end(process, _STOP_S)
        if self._reading:
            await self._reading


def _private_folder() -> Path:
    """A new folder that only this user may enter, with a path short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="tamis-"))
    if len(str(folder / "engine.sock").encode()) <= _LONGEST_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="tamis-", dir="/tmp"))
