"""Processes that ask for one key, each as a worker of a server would."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def worker(
    url: str, key: str, *, lease_s: float, callers: int = 1, seconds: float = 0.3
) -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready to ask, and is killed at the end."""
    program = Path(__file__).with_name("lease_worker.py")
    words = (url, key, callers, 1_000 * lease_s, seconds)
    with subprocess.Popen(
        [sys.executable, program, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert said(process) == "ready"
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
