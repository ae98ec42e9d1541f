"""Three immediate stages of 10 hits, one client process, one server process, one connection.

Rows: a bare grpc.aio stream of three messages of the same sizes, `Search`, and `SearchSession`,
measured in turn so that a noisy machine is noisy for all of them. p50 in milliseconds.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

pytestmark = pytest.mark.bench
ROUNDS, CALLS = 9, 200
REQUEST = pb.SearchRequest(collection="c", k=10, view=1, request_id="r")  # type: ignore[arg-type]
REQUEST.query.text = "a red bicycle"

SERVER = """
import asyncio, sys
from dataclasses import dataclass, replace
import grpc, grpc.aio, uvloop
from steps import Step, no_index
from tamis.models.types import Candidate
from tamis.server.config import default_settings, read
from tamis.server.interceptors import CallInterceptor
from tamis.server.pipeline import Pipeline
from tamis.server.services.retrieval import RetrievalService
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.retrieval_service_pb2_grpc import add_RetrievalServiceServicer_to_server

FOUND = [Candidate(f"document-{i}", 1 / (i + 1)) for i in range(10)]

@dataclass(frozen=True)
class Immediate(Step):
    async def __call__(self, search):
        return replace(search, candidates=FOUND)

async def bare(request, context):
    for message in MESSAGES:
        await context.write(message)

async def main():
    global MESSAGES
    service = RetrievalService(
        {"default": Pipeline([Immediate(1), Immediate(2), Immediate(3)])},
        no_index(),
        read(default_settings()),
    )
    MESSAGES = []
    async def keep(message):
        MESSAGES.append(message)
    request = pb.SearchRequest(collection="c", k=10, view=1, request_id="r")
    request.query.text = "a red bicycle"
    await service.answer(request, keep, timeout_s=None)
    MESSAGES = MESSAGES[:3]
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    add_RetrievalServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    floor = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(
        bare, pb.SearchRequest.FromString, pb.SearchResponse.SerializeToString
    )
    floor.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", {"s": method}),))
    floor_port = floor.add_insecure_port("127.0.0.1:0")
    await server.start()
    await floor.start()
    print(port, floor_port, flush=True)
    await server.wait_for_termination()

uvloop.run(main())
"""


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-c", SERVER]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}  # for steps.py
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as server:
        assert server.stdout is not None
        search, bare = map(int, server.stdout.readline().split())
        yield search, bare
        server.terminate()


async def p50_ms(one: Callable[[], Awaitable[None]]) -> float:
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        await one()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def test_search(ports: tuple[int, int]) -> None:
    import uvloop

    uvloop.run(measure(*ports))


async def measure(search_port: int, bare_port: int) -> None:
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{search_port}") as channel,
        grpc.aio.insecure_channel(f"127.0.0.1:{bare_port}") as bare_channel,
    ):
        stub = RetrievalServiceStub(channel)
        floor = bare_channel.unary_stream(
            "/bare/s", pb.SearchRequest.SerializeToString, pb.SearchResponse.FromString
        )
        session: Any = stub.SearchSession()

        async def bare() -> None:
            async for _ in floor(REQUEST):
                pass

        async def search() -> None:
            async for _ in stub.Search(REQUEST):
                pass

        async def in_session() -> None:
            await session.write(pb.SearchSessionRequest(search=pb.SessionSearch(request=REQUEST)))
            while not (await session.read()).response.HasField("summary"):
                pass

        rows = {"bare stream of 3": bare, "Search": search, "SearchSession": in_session}
        for one in rows.values():  # warm up
            await p50_ms(one)
        found: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, one in rows.items():
                found[name].append(await p50_ms(one))
        session.cancel()
        await asyncio.sleep(0)
    print(f"\n{'':18} p50 ms  of bare  of Search")
    for name, times in found.items():
        of_bare = statistics.median(
            t / b for t, b in zip(times, found["bare stream of 3"], strict=True)
        )
        of_search = statistics.median(t / s for t, s in zip(times, found["Search"], strict=True))
        print(f"{name:18} {statistics.median(times):6.3f}  {of_bare:7.2f}  {of_search:9.2f}")
