"""Keeps one engine process alive for as long as the server runs."""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from qdrant_client.grpc import HealthCheckRequest, QdrantStub

from tamis.server.store import StoreUnavailableError

_LOG = logging.getLogger(__name__)
# How long the engine may take to open its collections, in seconds.
_START_S = 120.0
# How long it may take to write what is left and go, in seconds.
_STOP_S = 30.0
# The first and the longest pause before it is started again, in seconds.
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
# After that long it is taken to be well again, in seconds.
_WELL_S = 60.0
# What the kernel allows for a socket's path on Linux (108) and macOS (104), less the ending zero.
_LONGEST_PATH = 103


class Supervisor:
    """An engine process: started, watched, started again when it dies, and stopped at the end.

    An asynchronous context manager. Any number of stores, in this process or in others, reach the
    engine at `target`; calls that are in flight when it dies are repeated by gRPC.
    """

    def __init__(self, folder: Path) -> None:
        """Takes note of the folder that holds the collections; starts nothing."""
        self._folder = folder
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
            await self._start()
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
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._stop()

    async def _start(self) -> None:
        """Starts a process and returns when it answers."""
        self._said.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tamis.server.store.engine"),
            *("--folder", str(self._folder), "--socket", str(self._socket), "--until-stdin-ends"),
            stdin=PIPE,  # ends with this process, and the engine with it
            stdout=DEVNULL,
            stderr=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # a Ctrl-C is for the server, which stops the engine last
        )
        self._reading = asyncio.create_task(self._read(process))
        answered = asyncio.create_task(self._answered())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait(
                {answered, ended}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED
            )
            if answered.done() and not answered.exception():
                return
            if ended.done():
                await self._reading
                raise StoreUnavailableError(f"the engine cannot start: {self._last_words}")
            raise StoreUnavailableError(f"the engine did not answer within {_START_S:g} s")
        finally:
            for task in (answered, ended):
                task.cancel()
            await asyncio.gather(answered, ended, return_exceptions=True)

    @property
    def _last_words(self) -> str:
        return self._said[-1] if self._said else "it said nothing"

    async def _answered(self) -> None:
        async with grpc.aio.insecure_channel(
            self.target,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.min_reconnect_backoff_ms", 20),
                ("grpc.max_reconnect_backoff_ms", 100),
            ],
        ) as channel:
            stub = QdrantStub(channel)  # type: ignore[no-untyped-call]
            await stub.HealthCheck(HealthCheckRequest(), wait_for_ready=True)

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
        """Starts the engine again, whenever it ends, after a pause that doubles."""
        clock, pause_s = asyncio.get_running_loop().time, _PAUSE_S
        while self._process:
            since = clock()
            status = await self._process.wait()
            if clock() - since > _WELL_S:
                pause_s = _PAUSE_S
            _LOG.error("the engine ended with status %d; starting it again", status)
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                try:
                    await self._start()
                    break
                except (StoreUnavailableError, OSError) as error:
                    _LOG.error("%s", error)
                    await self._end()

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
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if process.stdin:
            process.stdin.close()
        if self._reading:
            await self._reading


def _private_folder() -> Path:
    """A new folder that only this user may enter, with a path short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="tamis-"))
    if len(str(folder / "engine.sock").encode()) <= _LONGEST_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="tamis-", dir="/tmp"))
