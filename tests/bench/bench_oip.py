"""ModelInfer by 8 and 32 callers: tamis, KServe's Python server and mosec, one text a call.

All three run the same encoder on the same graph with one thread, each in processes of its own, all
on this machine. The client is h2load, a C program, with one connection a caller. KServe speaks the
same protocol (the very same bytes); mosec speaks HTTP. Batching is each one's own: tamis as it
comes, mosec up to 32 texts with its default wait and with the shortest, KServe has none for gRPC.
Rounds go round all servers. The peers are installed once, into TAMIS_BENCH_CACHE.
"""

import os
import re
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest
from grpc_body import framed
from load_calls import infer_request
from load_server import watched
from peer_environment import environment
from serving import ROOT

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.types import Content, Side
from tamis.server.config import default_settings
from tamis.server.oip.messages import SERVICE, ModelInferResponse

pytestmark = pytest.mark.bench
FOLDER = ROOT / "artifacts" / "minilm"
PEERS = Path(__file__).with_name("peers")
NEEDS = ("jaxtyping", "numpy", "pillow", "tokenizers", f"onnxruntime=={onnxruntime.__version__}")
METHOD = f"/{SERVICE}/ModelInfer"
TEXT = "a small bird with a red breast, seen from below"
ROUNDS, SECONDS, CALLERS = 3, 3, (8, 32)
VECTOR_BYTES = 4 * 384
START_S = 120
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """One that is measured.

    Attributes:
        name: In the table.
        pid: Of the process it was started as.
        url: What h2load calls.
        options: What h2load is told of it.
        body: What each call brings.
        vector: The answer to one call.
    """

    name: str
    pid: int
    url: str
    options: tuple[str, ...]
    body: bytes
    vector: Callable[[], np.ndarray]

    def cpu_s(self) -> float:
        """CPU seconds that its processes have used."""
        return sum(map(_cpu_s, (self.pid, *_descendants(self.pid))))


def test_oip(tmp_path: Path) -> None:
    h2load = subprocess.run(
        [ROOT / "tests" / "load" / "fetch_h2load.sh"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    with ExitStack() as stack:
        servers = [stack.enter_context(own) for own in all_servers(tmp_path)]
        check(servers)
        found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for callers in CALLERS:
            for _ in range(ROUNDS):
                for server in servers:
                    figures = measured(h2load, server, callers, tmp_path)
                    found.setdefault((server.name, callers), []).append(figures)
    show(found, [server.name for server in servers])


def all_servers(tmp_path: Path) -> Iterator[Any]:
    yield tamis(tmp_path / "tamis")
    yield kserve(tmp_path)
    for wait_ms in (10, 1):
        yield mosec(tmp_path, wait_ms)


@contextmanager
def tamis(data: Path) -> Iterator[Server]:
    settings = default_settings().read_text("utf-8")
    settings, count = re.subn(r"(?m)^threads = \d+", "threads = 1", settings)
    assert count == 1, "the settings have no threads"
    with watched(data, settings) as own:
        yield grpc_server("tamis", own.served.process.pid, own.served.target)


@contextmanager
def kserve(folder: Path) -> Iterator[Server]:
    python = environment("kserve==0.21.0", *NEEDS)
    port, http_port = free_port(), free_port()
    command = [python, PEERS / "kserve_server.py", "minilm", port, http_port]
    with running(command, folder / "kserve.log", port) as pid:
        yield grpc_server("KServe", pid, f"127.0.0.1:{port}")


@contextmanager
def mosec(folder: Path, wait_ms: int) -> Iterator[Server]:
    python, port = environment("mosec==0.9.8", *NEEDS), free_port()
    command = [python, PEERS / "mosec_server.py", wait_ms, "--port", port]
    url = f"http://127.0.0.1:{port}/inference"

    def vector() -> np.ndarray:
        with urllib.request.urlopen(url, TEXT.encode(), timeout=START_S) as answer:
            return np.frombuffer(answer.read(), np.float32)

    with running(command, folder / f"mosec-{wait_ms}.log", port) as pid:
        yield Server(f"mosec, wait {wait_ms} ms", pid, url, ("--h1",), TEXT.encode(), vector)


def grpc_server(name: str, pid: int, target: str) -> Server:
    request = infer_request("minilm", TEXT)

    def vector() -> np.ndarray:
        with grpc.insecure_channel(target) as channel:
            infer = channel.unary_unary(
                METHOD, type(request).SerializeToString, ModelInferResponse.FromString
            )
            answer: Any = infer(request, timeout=START_S, wait_for_ready=True)
        return np.frombuffer(answer.raw_output_contents[0], np.float32)

    options = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    body = framed(request.SerializeToString())
    return Server(name, pid, f"http://{target}{METHOD}", options, body, vector)


def check(servers: list[Server]) -> None:
    """All give the same vector: h2load does not look at what it gets."""
    encoder = catalog.load(Encoder, "minilm", {"folder": str(FOLDER), "threads": 1})
    (made,) = encoder.encode([Content(text=TEXT)], Side.QUERY)
    expected = np.asarray(made.heads["dense"])
    for server in servers:
        assert np.allclose(server.vector(), expected, atol=1e-5), server.name


def measured(h2load: str, server: Server, callers: int, folder: Path) -> tuple[float, float, float]:
    """Calls a second, milliseconds a call, and the server's CPU milliseconds a call."""
    body = folder / "body"
    body.write_bytes(server.body)
    command = [h2load, "-c", str(callers), "-m", "1", "-D", str(SECONDS), "--warm-up-time=1s"]
    before = server.cpu_s()
    done = subprocess.run(
        [*command, "-d", body, *server.options, server.url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    cpu_s = server.cpu_s() - before
    ok, failed = (number(done, rf"(\d+) {what}") for what in ("succeeded", "failed"))
    sent_bytes = number(done, r"headers .* \((\d+)\) data")
    # gRPC's errors have HTTP's status 200, and no body.
    assert ok and not failed and sent_bytes >= ok * VECTOR_BYTES, f"{server.name}: {done}"  # noqa: PT018
    return ok / SECONDS, 1e3 * callers * SECONDS / ok, 1e3 * cpu_s / ok * SECONDS / (SECONDS + 1)


def show(
    found: Mapping[tuple[str, int], list[tuple[float, float, float]]], names: list[str]
) -> None:
    print(f"\n{'':20}{'callers':>8}{'calls/s':>10}{'ms':>8}{'CPU ms':>8}   tamis is x of it")
    for callers in CALLERS:
        ours = found["tamis", callers]
        for name in names:
            rows = found[name, callers]
            rate, ms, cpu_ms = (statistics.median(column) for column in zip(*rows, strict=True))
            ratios = [own[0] / other[0] for own, other in zip(ours, rows, strict=True)]
            print(
                f"{name:20}{callers:8}{rate:10.1f}{ms:8.1f}{cpu_ms:8.2f}   "
                f"{statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
            )


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, f"no {pattern} in: {text}"
    return float(found[1])


@contextmanager
def running(command: list[Any], log: Path, port: int) -> Iterator[int]:
    """A peer that listens; all of its processes end with the block."""
    own = {"PYTHONPATH": str(ROOT / "models"), "FOLDER": str(FOLDER), "PYTHONWARNINGS": "ignore"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), env=os.environ | own, stdout=output, stderr=output
        )
    try:
        listening(process, port, log)
        yield process.pid
    finally:
        children = _descendants(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in children:  # those that it left behind
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, 9)


def listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text("utf-8")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(log.read_text("utf-8"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS
