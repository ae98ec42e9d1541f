"""A server for one command, in a process of its own that ends with it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.models.errors import TamisError

STOP_S = 120  # how long the server may take to end


@contextmanager
def serving(data: Path, settings: Path | None = None) -> Iterator[str]:
    """Starts a server on a free port of this machine; gives where it listens.

    Args:
        data: The folder for its index, its pictures and its log.
        settings: A TOML file; None for the settings that come with tamis.

    Raises:
        TamisError: It does not start; the message has its log.
    """
    command = [sys.executable, "-m", "tamis.server.cli", "serve"]
    command += [str(settings)] if settings else []
    command += ["--listen", "127.0.0.1:0", "--data", str(data)]
    with (data / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert server.stdout is not None  # noqa: S101 - for mypy: PIPE makes it so
    try:
        line = server.stdout.readline().decode()
        if not line.startswith("serving"):
            server.wait(STOP_S)
            raise TamisError(f"the server did not start:\n{(data / 'server.log').read_text()}")
        yield line.split()[3]
    finally:
        server.terminate()
        server.wait(STOP_S)
        server.stdout.close()
