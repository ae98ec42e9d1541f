"""A real server, in a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STOP_S = 60


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        target: Where it listens.
        process: Its process.
        log: What it writes to stderr.
        data: Where its index and pictures live.
    """

    target: str
    process: "subprocess.Popen[bytes]"
    log: Path
    data: Path

    def children(self) -> list[int]:
        """The processes that it has started: the index engine, and workers."""
        own = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in own.read_text().split()]

    def workers(self) -> dict[int, set[int]]:
        """The process ids of its workers, by their numbers; of two, one is leaving or coming."""
        found: dict[int, set[int]] = {}
        for pid in self.children():
            with suppress(OSError):  # it ended in the meantime
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if "tamis.server.worker" in command:
                    number = int(command[command.index("--number") + 1])
                    found.setdefault(number, set()).add(pid)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged: one call, or one event, a line."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.split("\n") if line.startswith("{")]

    def stop(self) -> int:
        """Sends SIGTERM and gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextmanager
def serving(
    data: Path, *, settings: Path | None = None, workers: int | None = None
) -> Iterator[Served]:
    """A server on a free port whose index and pictures live in `data`."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    command = [sys.executable, "-m", "tamis.server.cli", "serve"]
    command += [str(settings)] if settings else []
    command += ["--listen", "127.0.0.1:0", "--data", str(data)]
    command += ["--workers", str(workers)] if workers else []
    path = os.pathsep.join(str(ROOT / root) for root in ("protos", "client", "models", "server"))
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": path},
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        assert line.startswith("serving tamis.v1 on "), log.read_text()
        yield Served(line.split()[3], process, log, data)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_S)
        process.stdout.close()
