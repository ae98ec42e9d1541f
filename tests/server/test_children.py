"""Child processes, with real ones."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from tamis.server import children
from tamis.server.children import LONGEST_PAUSE_S, PAUSE_S, WELL_S, Backoff

Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Makes a module that a child can run."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(program: str) -> str:
        (tmp_path / "a_child.py").write_text(program)
        return "a_child"

    return make


async def ends(process: asyncio.subprocess.Process) -> None:
    """Is never ready before the process ends."""
    await process.wait()
    await asyncio.Event().wait()


async def test_a_child_hears_sigterm(module: Module) -> None:
    process = await children.spawn(module("print('up', flush=True); input()"), stdout=PIPE)
    assert process.stdout
    await children.until_ready(process, process.stdout.readline(), 30)
    await children.end(process, 30)
    assert process.returncode == -signal.SIGTERM
    await children.end(process, 30)  # one that has ended is no error


async def test_a_child_that_does_not_hear_is_ended_by_force(module: Module) -> None:
    deaf = (
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    process = await children.spawn(module(deaf), stdout=PIPE)
    assert process.stdout
    await process.stdout.readline()
    await children.end(process, 0.1)
    assert process.returncode == -signal.SIGKILL


async def test_a_child_that_ends_before_it_is_ready_is_told_from_a_slow_one(
    module: Module,
) -> None:
    process = await children.spawn(module("raise SystemExit(3)"))
    with pytest.raises(children.EndedError, match="status 3"):
        await children.until_ready(process, ends(process), 30)
    process = await children.spawn(module("input()"))
    with pytest.raises(TimeoutError, match=r"not ready within 0\.1 s"):
        await children.until_ready(process, ends(process), 0.1)
    await children.end(process, 30)


async def test_a_child_learns_that_its_parent_is_gone(module: Module) -> None:
    program = (
        "import asyncio\n"
        "from tamis.server.children import when_orphaned\n"
        "async def main():\n"
        "    gone = asyncio.Event()\n"
        "    when_orphaned(gone.set)\n"
        "    print('up', flush=True)\n"
        "    await gone.wait()\n"
        "asyncio.run(main())\n"
    )
    child = module(program)
    parent = (
        "import asyncio, sys\n"
        "from tamis.server import children\n"
        "async def main():\n"
        "    await children.spawn(sys.argv[1], stdout=None)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", parent, child),
        stdout=PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout
    assert await process.stdout.readline() == b"up\n"
    process.kill()
    # The child holds the other end of this pipe: it ends when both of them have.
    assert await asyncio.wait_for(process.stdout.read(), 30) == b""
    await process.wait()


def test_pauses_double_up_to_the_longest_until_a_process_was_well() -> None:
    backoff = Backoff()
    pauses = [backoff.next_s() for _ in range(12)]
    assert pauses[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert pauses[-1] == max(pauses) == LONGEST_PAUSE_S
    assert backoff.next_s(lived_s=WELL_S) == LONGEST_PAUSE_S
    assert backoff.next_s(lived_s=WELL_S + 1) == PAUSE_S
    assert backoff.next_s() == 2 * PAUSE_S
