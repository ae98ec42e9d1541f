"""Serves until it is told to stop, then drains."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tamis.server import logs, reflection
from tamis.server.app import App, open_app
from tamis.server.config import ServerSettings, default_settings, read
from tamis.server.interceptors import CallInterceptor
from tamis.server.metrics import Metrics, serve_metrics
from tamis.v1 import (
    collection_service_pb2,
    embedding_service_pb2,
    model_service_pb2,
    refine_service_pb2,
    rerank_service_pb2,
    retrieval_service_pb2,
    server_service_pb2,
)

logger = logging.getLogger(__name__)

SERVICES = tuple(
    service.full_name
    for module in (
        retrieval_service_pb2,
        embedding_service_pb2,
        rerank_service_pb2,
        refine_service_pb2,
        collection_service_pb2,
        model_service_pb2,
        server_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


def options(settings: ServerSettings) -> list[tuple[str, int]]:
    """GRPC's channel arguments for a server."""
    size = settings.limits.max_message_bytes
    return [
        ("grpc.max_receive_message_length", size),
        ("grpc.max_send_message_length", size),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients that ping as often as we do must not be sent away.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),  # a second server on the port is a mistake: say so
    ]


class Server:
    """One listening server. Use it as an async context manager; `port` is where it listens."""

    def __init__(self, app: App, metrics: Metrics | None = None) -> None:
        self._app = app
        self._drain_asked = asyncio.Event()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(metrics)], options=options(app.settings)
        )
        self.port = 0

    async def __aenter__(self) -> "Server":
        self._app.serve_on(self._server, drain=self._drain_asked.set)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable((*SERVICES, health.SERVICE_NAME), self._server)
        self.port = self._server.add_insecure_port(self._app.settings.listen)
        await self._server.start()
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    async def until_drained(self) -> None:
        """Waits until a caller asks for Drain."""
        await self._drain_asked.wait()

    async def drain(self) -> None:
        """Says NOT_SERVING, refuses new calls, and waits for those in flight (`drain_s`)."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._app.settings.drain_s)


async def serve(settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serves until SIGINT, SIGTERM or Drain; calls in flight get `drain_s` seconds to finish."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, metrics)
    async with open_app(settings, metrics) as app:
        # What is loaded stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        async with Server(app, metrics) as server:
            host = settings.listen.rpartition(":")[0]
            announce(
                f"serving tamis.v1 on {host}:{server.port}  pipelines={','.join(app.pipelines)}"
            )
            waits = [asyncio.create_task(stop.wait()), asyncio.create_task(server.until_drained())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            logger.info("draining")


def main(path: Path | None = None, listen: str | None = None, data: Path | None = None) -> None:
    """Serves with the settings of `path`, or the default ones.

    Args:
        path: A TOML file.
        listen: Overrides its `listen`.
        data: Overrides its `store.folder`.

    Raises:
        TamisError: The settings are wrong, or a part does not start.
    """
    logs.configure()
    settings = read(path or default_settings())
    if listen is not None:
        settings = replace(settings, listen=listen)
    if data is not None:
        settings = replace(settings, store=replace(settings.store, folder=str(data)))
    try:
        import uvloop
    except ImportError:  # not on every platform
        run = asyncio.run
    else:
        run = uvloop.run
    run(serve(settings, _announce))


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
