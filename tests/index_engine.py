"""An embedded index engine in a process of its own, as tests share it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address; at the end it must stop by itself."""
    socket = folder / "engine.sock"
    command = [sys.executable, "-m", "tamis.server.store.engine", "--until-stdin-ends"]
    with subprocess.Popen(
        [*command, "--folder", str(folder / "collections"), "--socket", str(socket)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield f"unix:{socket}"
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=30) == 0
