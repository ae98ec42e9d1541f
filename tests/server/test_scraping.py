"""What Prometheus gets over HTTP."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tamis.models.errors import SettingsError
from tamis.server.metrics import Metrics
from tamis.server.scraping import WorkerMetrics, serve_metrics

WORKER = """
import sys
from tamis.server.metrics import Metrics
metrics = Metrics()
metrics.shed("overloaded")
metrics.queue("minilm").depth(int(sys.argv[1]))
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[int]:
    server = serve_metrics(0, registry, address="127.0.0.1")
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def page(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return lines


def test_prometheus_is_answered_over_http() -> None:
    metrics = Metrics()
    metrics.queue("minilm").depth(7)
    with served(metrics.registry) as port:
        lines = page(port)
    assert 'tamis_queue_depth{model="minilm"} 7.0' in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_a_port_that_is_taken_is_a_setting_to_change() -> None:
    with (
        served(CollectorRegistry()) as port,
        pytest.raises(SettingsError, match=f"metrics_port: .*:{port}: "),
    ):
        serve_metrics(port, CollectorRegistry(), address="127.0.0.1")


@contextmanager
def counting(metrics: WorkerMetrics, queued: int) -> Iterator[int]:
    """A worker that has shed one request, and whose queue is so long."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(queued)],
        env={"PYTHONPATH": ":".join(sys.path), **metrics.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        yield process.pid
    metrics.ended(process.pid)


def test_workers_are_added_up_and_what_one_counted_outlives_it(tmp_path: Path) -> None:
    metrics = WorkerMetrics(tmp_path)
    with served(metrics.registry) as port, counting(metrics, 3):
        with counting(metrics, 4):
            lines = page(port)
            assert 'tamis_shed_total{reason="overloaded"} 2.0' in lines
            assert 'tamis_queue_depth{model="minilm"} 7.0' in lines
        lines = page(port)
        assert 'tamis_shed_total{reason="overloaded"} 2.0' in lines
        assert 'tamis_queue_depth{model="minilm"} 3.0' in lines
