"""How Prometheus gets the metrics: over HTTP, of one process or of all workers together."""

from collections.abc import Mapping
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tamis.models.errors import SettingsError


class WorkerMetrics:
    """What the workers of one server count, added up; what one that has ended counted stays.

    Each worker writes to files in a folder, because its environment names it: see `environment`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry, path=self._folder)  # type: ignore[no-untyped-call]

    @property
    def environment(self) -> Mapping[str, str]:
        """What a worker's environment must have when it starts."""
        return {"PROMETHEUS_MULTIPROC_DIR": self._folder}

    def ended(self, pid: int) -> None:
        """A worker is gone, and what it had in its queues."""
        mark_process_dead(pid, path=self._folder)  # type: ignore[no-untyped-call]


def serve_metrics(
    port: int,
    registry: CollectorRegistry,
    *,
    address: str = "0.0.0.0",  # noqa: S104 - Prometheus asks from outside
) -> WSGIServer:
    """Answers Prometheus on a port, from a daemon thread; port 0 takes any free one.

    Returns the HTTP server: `server_port` is its port, and `shutdown` and `server_close` end it.

    Raises:
        SettingsError: The port is taken, or not for us.
    """
    ProcessCollector(registry=registry)  # reads /proc: not for an event loop
    try:
        server, _ = start_http_server(port, address, registry)
    except OSError as error:
        raise SettingsError(f"metrics_port: cannot listen on {address}:{port}: {error}") from error
    return server
