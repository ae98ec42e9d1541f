"""Child processes: how they start, end, and learn that their parent is gone."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

# The first and the longest pause before a process is started again, in seconds.
PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
# After that long a process is taken to be well again, in seconds.
WELL_S = 60.0


class EndedError(Exception):
    """The process ended before it was ready."""


async def spawn(
    module: str,
    *arguments: str,
    stdout: int = DEVNULL,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """A new interpreter, not a fork, that runs `module`; gRPC does not survive a fork.

    Its standard input ends when this process does, however it does: see `when_orphaned`.

    Args:
        module: As after ``python -m``; found where this process finds its own.
        arguments: Its command line.
        stdout: As of `asyncio.create_subprocess_exec`.
        stderr: As of `asyncio.create_subprocess_exec`; None shares this process's.
        environment: What is added to this process's.
    """
    path = os.pathsep.join(filter(None, sys.path))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        start_new_session=True,  # a Ctrl-C is for the parent, which ends its children in order
    )


async def until_ready(
    process: Process, ready: Coroutine[Any, Any, object], within_s: float
) -> None:
    """Waits for `ready`, unless the process ends first.

    Raises:
        EndedError: It ended.
        TimeoutError: Neither came within `within_s` seconds.
    """
    tasks = answered, ended = asyncio.create_task(ready), asyncio.create_task(process.wait())
    try:
        await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if answered.done() and not answered.exception():
            return
        if ended.done():
            raise EndedError(f"ended with status {process.returncode}")
        raise TimeoutError(f"not ready within {within_s:g} s")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def end(process: Process, within_s: float) -> None:
    """Sends SIGTERM, and SIGKILL to a process that is still there after `within_s` seconds."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), within_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.stdin:
        process.stdin.close()


def when_orphaned(act: Callable[[], None]) -> None:
    """In a child: calls `act` in the running loop when its parent is gone.

    The parent holds the other end of standard input, which therefore ends when the parent does.
    """
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def heard() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            act()

    loop.add_reader(descriptor, heard)


class Backoff:
    """The pauses before a process is started again: each twice the last, up to a longest one."""

    def __init__(self) -> None:
        self._pause_s = PAUSE_S

    def next_s(self, lived_s: float = 0.0) -> float:
        """The next pause, in seconds; the first one again where the process was well until now."""
        now_s = PAUSE_S if lived_s > WELL_S else self._pause_s
        self._pause_s = min(2 * now_s, LONGEST_PAUSE_S)
        return now_s

    async def pause(self, lived_s: float = 0.0) -> None:
        """Waits for as long as `next_s` says."""
        await asyncio.sleep(self.next_s(lived_s))
