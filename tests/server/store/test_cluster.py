"""A cluster that wants a key, speaks TLS, reads by quorum, or does not answer at all.

None runs here: these are servers of the tests' own, on real ports.
"""

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc as rpc
import pytest
from qdrant_client import grpc, models

from tamis.models.errors import SettingsError
from tamis.server.errors import status_of
from tamis.server.store import StoreFullError, StoreUnavailableError, VectorStore, point
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings

ID = str(UUID(int=1))
KEY = "the key"
TIMEOUT_S = 1.0
COMPLETED = grpc.PointsOperationResponse(
    result=grpc.UpdateResult(status=grpc.UpdateStatus.Completed)
)


class Cluster(rpc.GenericRpcHandler):
    """Answers three calls, keeps what it was sent, and refuses whoever has no key."""

    def __init__(self, *, key: str = "", failing: rpc.StatusCode | None = None) -> None:
        self.heard: list[Any] = []
        self._key, self._failing = key, failing
        self._methods: dict[str, tuple[Any, Any]] = {
            "/qdrant.Points/Count": (grpc.CountPoints, grpc.CountResponse()),
            "/qdrant.Points/Upsert": (grpc.UpsertPoints, COMPLETED),
            "/qdrant.Collections/List": (
                grpc.ListCollectionsRequest,
                grpc.ListCollectionsResponse(),
            ),
        }

    def service(self, call: Any) -> Any:
        request, response = self._methods[call.method]

        async def answer(message: Any, context: Any) -> Any:
            self.heard.append(message)
            if self._failing:
                await context.abort(self._failing, "as the test wants it")
            if self._key and ("api-key", self._key) not in context.invocation_metadata():
                await context.abort(rpc.StatusCode.UNAUTHENTICATED, "an API key is wanted")
            return response

        return rpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


@asynccontextmanager
async def running(
    cluster: Cluster, credentials: rpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    server = rpc.aio.server()
    server.add_generic_rpc_handlers((cluster,))
    if credentials:
        url = f"https://localhost:{server.add_secure_port('localhost:0', credentials)}"
    else:
        url = f"http://localhost:{server.add_insecure_port('localhost:0')}"
    await server.start()
    yield url
    await server.stop(None)


def issued(folder: Path) -> tuple[bytes, Path]:
    """A key, and the certificate of a host that vouches for itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
        f" -keyout {key} -out {certificate} -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl, which makes the certificate")
    return key.read_bytes(), certificate


async def test_a_cluster_is_reached_by_tls_and_with_a_key(tmp_path: Path) -> None:
    key, certificate = await asyncio.to_thread(issued, tmp_path)
    credentials = rpc.ssl_server_credentials([(key, certificate.read_bytes())])
    async with running(Cluster(key=KEY), credentials) as url:
        good = StoreSettings(url=url, api_key=KEY, ca_file=str(certificate))
        async with open_store(good) as store:
            assert await store.names() == []
        async with open_store(StoreSettings(url=url, ca_file=str(certificate))) as store:
            with pytest.raises(SettingsError, match=r"store\.api_key: .* an API key is wanted"):
                await store.names()
        strange = StoreSettings(url=url, api_key=KEY, timeout_s=TIMEOUT_S)
        async with open_store(strange) as store:  # nobody vouches for this certificate
            with pytest.raises(StoreUnavailableError):
                await store.names()


async def test_authorities_that_are_not_there_are_named(tmp_path: Path) -> None:
    settings = StoreSettings(url="https://localhost", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(SettingsError, match=r"store\.ca_file: .*none\.pem"):
        async with open_store(settings):
            pass


@pytest.mark.parametrize(
    ("consistency", "expected"),
    [
        ("2", grpc.ReadConsistency(factor=2)),
        ("majority", grpc.ReadConsistency(type=grpc.ReadConsistencyType.Majority)),
    ],
)
async def test_reads_and_writes_are_as_consistent_as_the_settings_say(
    consistency: str, expected: grpc.ReadConsistency
) -> None:
    cluster = Cluster()
    async with running(cluster) as url:
        settings = StoreSettings(url=url, consistency=consistency, ordering="strong", timeout_s=7.5)
        async with open_store(settings) as store:
            await store.count("docs")
            await store.upsert("docs", [point(ID, vectors={"dense": [1.0]}, payload={})])
    read, written = cluster.heard
    assert read.read_consistency == expected
    assert written.ordering.type == grpc.WriteOrderingType.Strong
    assert read.timeout == written.timeout == 8


@pytest.mark.parametrize("wrong", [{"consistency": "most"}, {"ordering": "x"}, {"attempts": 6}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StoreSettings(**wrong)


@asynccontextmanager
async def one_call(url: str, attempts: int) -> AsyncIterator[Awaitable[int]]:
    async with open_store(StoreSettings(url=url, attempts=attempts)) as store:
        yield store.count("docs")


async def test_attempts_are_as_many_as_the_settings_say() -> None:
    for attempts in (1, 3):
        cluster = Cluster(failing=rpc.StatusCode.UNAVAILABLE)
        async with running(cluster) as url, one_call(url, attempts) as call:
            with pytest.raises(StoreUnavailableError):
                await call
        assert len(cluster.heard) == attempts


async def test_a_cluster_without_room_is_not_asked_again() -> None:
    cluster = Cluster(failing=rpc.StatusCode.RESOURCE_EXHAUSTED)
    async with running(cluster) as url, open_store(StoreSettings(url=url)) as store:
        with pytest.raises(StoreFullError):
            await store.count("docs")
    assert len(cluster.heard) == 1


class Silent(asyncio.Protocol):
    """Takes connections and never says anything."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


class Resetting(Silent):
    """Ends each connection without a word of farewell."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.close()


@asynccontextmanager
async def mute(protocol: type[Silent] | None) -> AsyncIterator[VectorStore]:
    """A store whose cluster is such a server, or a port that nobody listens on."""
    made: list[Silent] = []

    def take() -> Silent:
        made.append((protocol or Silent)())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if protocol is None:
        server.close()
    settings = StoreSettings(url=f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S)
    async with open_store(settings) as store:
        yield store
    server.close()
    for one in made:
        one.transport.close()
        await one.lost.wait()


@pytest.mark.parametrize("protocol", [Silent, Resetting, None], ids=["silent", "resets", "refuses"])
async def test_a_cluster_that_does_not_answer_is_told_within_the_timeout(
    protocol: type[Silent] | None,
) -> None:
    """Reads give up sooner than writes, which wait; neither waits longer than it may."""
    query = models.NearestQuery(nearest=[1.0])
    async with mute(protocol) as store:
        for call in (
            store.query("docs", query, using="dense", limit=1),
            store.upsert("docs", [point(ID, vectors={"dense": [1.0]}, payload={})]),
        ):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError) as caught:
                await call
            assert time.monotonic() - began < TIMEOUT_S + 1
            code, _, retry_after_ms = status_of(caught.value)
            assert code is rpc.StatusCode.UNAVAILABLE
            assert retry_after_ms
