"""Serves until it is told to stop, then drains."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tamis.models.errors import SettingsError
from tamis.server import logs, reflection
from tamis.server.app import App, open_app
from tamis.server.config import ServerSettings, default_settings, read
from tamis.server.interceptors import CallInterceptor
from tamis.server.metrics import Metrics
from tamis.server.scraping import serve_metrics
from tamis.server.workers import serve_workers
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

# A client keeps a connection, and so its worker, for as long as it may: after a while it is sent to
# connect again, so that a worker which is new gets its share.
_SHARED_AGE_MS = 300_000
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


def options(settings: ServerSettings, *, shared_port: bool = False) -> list[tuple[str, int]]:
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
        # But for the workers of one server, a second one on the port is a mistake: say so.
        ("grpc.so_reuseport", int(shared_port)),
        *((("grpc.max_connection_age_ms", _SHARED_AGE_MS),) if shared_port else ()),
    ]


class Server:
    """One listening server. Use it as an async context manager; `port` is where it listens.

    Args:
        app: What answers.
        metrics: Where calls are counted.
        drain: Is called when a caller asks for Drain.
        shared_port: Whether other processes may listen on the port too.
    """

    def __init__(
        self,
        app: App,
        metrics: Metrics | None = None,
        *,
        drain: Callable[[], None] = lambda: None,
        shared_port: bool = False,
    ) -> None:
        self._app = app
        self._drain = drain
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(metrics)],
            options=options(app.settings, shared_port=shared_port),
        )
        self._ready = False
        self.port = 0

    async def __aenter__(self) -> "Server":
        self._app.serve_on(self._server, drain=self._drain, ready=lambda: self._ready)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable((*SERVICES, health.SERVICE_NAME), self._server)
        try:
            self.port = self._server.add_insecure_port(self._app.settings.listen)
        except RuntimeError as error:
            raise SettingsError(f"listen: cannot listen on {self._app.settings.listen}") from error
        await self._server.start()
        self._ready = True
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    async def drain(self) -> None:
        """Says NOT_SERVING, refuses new calls, and waits for those in flight (`drain_s`).

        gRPC closes the port first and tells each connection to go (GOAWAY). A call that is sent
        before a client reads that ends as CANCELLED: clients should repeat it, as ours does.
        """
        self._ready = False
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._app.settings.drain_s)


@asynccontextmanager
async def open_server(
    settings: ServerSettings,
    metrics: Metrics,
    *,
    drain: Callable[[], None],
    shared_port: bool = False,
) -> AsyncIterator[Server]:
    """A server that answers when the block begins, and drains when it ends. See `Server`."""
    async with open_app(settings, metrics) as app:
        # What is loaded stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        async with Server(app, metrics, drain=drain, shared_port=shared_port) as server:
            yield server
            logger.info("draining")


async def serve(settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serves until SIGINT, SIGTERM or Drain; calls in flight get `drain_s` seconds to finish.

    Args:
        settings: How.
        announce: Is called with the address when the server answers.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(triton=settings.triton_metrics)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, metrics.registry)
    async with open_server(settings, metrics, drain=stop.set) as server:
        host = settings.listen.rpartition(":")[0]
        announce(f"{host}:{server.port}")
        await stop.wait()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a program on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(main)
    else:
        uvloop.run(main)


def main(
    path: Path | None = None,
    listen: str | None = None,
    data: Path | None = None,
    workers: int | None = None,
) -> None:
    """Serves with the settings of `path`, or the default ones.

    Args:
        path: A TOML file.
        listen: Overrides its `listen`.
        data: Overrides its `store.folder`.
        workers: Overrides its `workers`.

    Raises:
        TamisError: The settings are wrong, or a part does not start.
    """
    logs.configure()
    path = path or default_settings()
    settings = read(path)
    if listen is not None:
        settings = replace(settings, listen=listen)
    if data is not None:
        settings = replace(settings, store=replace(settings.store, folder=str(data)))
    if workers is not None:
        settings = replace(settings, workers=workers)

    def announce(address: str) -> None:
        names = ",".join(settings.pipelines)
        sys.stdout.write(f"serving tamis.v1 on {address}  pipelines={names}\n")
        sys.stdout.flush()

    if settings.workers == 1:
        run(serve(settings, announce))
    else:
        run(serve_workers(settings, path, announce))
