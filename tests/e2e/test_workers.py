"""Several workers on one port: what callers notice when workers come, go and die.

Slow, because each test starts or restarts processes; those that leave a whole server share it.
"""

import asyncio
import os
import signal
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from serving import Served, serving

from tamis.client import AsyncClient, Client, Document, TamisClientError, UnavailableError
from tamis.v1 import server_service_pb2, server_service_pb2_grpc

SOON_S = 120.0  # within which what a test waits for must come; never waited out
PAUSE_S = 0.02  # between the calls of one caller: a load that leaves new workers room to start
SETTINGS = """
metrics_port = {metrics_port}

[encoders.bm25]
method = "bm25"

[encoders.other]
method = "bm25"

[store]
vectors = ["bm25.terms"]

[pipelines.default.retrieve]
method = "bm25"
settings = {{ vector = "bm25.terms" }}
"""
EXTRA = """
[pipelines.extra.retrieve]
method = "bm25"
"""
DOCUMENTS = [Document(id=f"d{n}", text=f"a red bicycle, number {n}") for n in range(8)]
FOUND = {document.id for document in DOCUMENTS}


@contextmanager
def crew(folder: Path, metrics_port: int = 0) -> Iterator[Served]:
    """A server with two workers, whose models load fast."""
    settings = folder / "tamis.toml"
    settings.write_text(SETTINGS.format(metrics_port=metrics_port))
    with serving(folder / "data", settings=settings, workers=2) as served:
        yield served


@pytest.fixture(scope="module")
def metrics_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[Served]:
    """Its workers may be replaced and killed; all are back when a test ends."""
    with crew(tmp_path_factory.mktemp("crew"), metrics_port) as running:
        yield running


@pytest.fixture
async def filled(served: Served, collection: str) -> str:
    """A collection that holds `DOCUMENTS`."""
    async with AsyncClient(served.target) as client:
        await client.upsert(collection, DOCUMENTS).final()
    return collection


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def events(served: Served, since: int) -> list[str]:
    """What was logged after so many lines, but for calls."""
    return [line["event"] for line in served.lines()[since:] if "method" not in line]


def pids(served: Served) -> list[int]:
    return [pid for both in served.workers().values() for pid in both]


def answered_by(served: Served) -> dict[str, int]:
    """Which worker answered a call, by its request id; the last one, where it was repeated."""
    return {line["request_id"]: line["worker"] for line in served.lines() if "method" in line}


@dataclass
class Load:
    """What became of the searches of a steady load, by caller."""

    collection: str
    answers: dict[str, int] = field(default_factory=dict)
    wrong: list[set[str]] = field(default_factory=list)
    failures: dict[str, list[TamisClientError]] = field(default_factory=dict)

    async def call(self, client: AsyncClient, caller: str) -> None:
        """Searches once."""
        number = self.answers.get(caller, 0) + len(self.failures.get(caller, ()))
        request_id = f"{caller}-{number}"
        try:
            hits = await client.hits("bicycle", collection=self.collection, request_id=request_id)
        except TamisClientError as error:
            self.failures.setdefault(caller, []).append(error)
            return
        self.answers[caller] = self.answers.get(caller, 0) + 1
        if (found := {hit.document_id for hit in hits}) != FOUND:
            self.wrong.append(found)


@asynccontextmanager
async def loaded(
    target: str, collection: str, *, clients: int, channels: int, callers: int
) -> AsyncIterator[Load]:
    """Searches all the time, until the block ends; every call is counted."""
    load, over = Load(collection), asyncio.Event()

    async def search(client: AsyncClient, caller: str) -> None:
        while not over.is_set():
            await load.call(client, caller)
            await asyncio.sleep(PAUSE_S)

    async def run(name: str) -> None:
        async with AsyncClient(target, channels=channels) as client:
            await asyncio.gather(*(search(client, f"{name}.{n}") for n in range(callers)))

    async with asyncio.TaskGroup() as tasks:
        for n in range(clients):
            tasks.create_task(run(f"{collection}.{n}"))
        await until(lambda: len(load.answers) == clients * callers)
        yield load
        over.set()


@pytest.mark.parametrize(("channels", "workers"), [(1, 1), (16, 2)])
async def test_a_client_s_channels_are_spread_over_the_workers(
    served: Served, channels: int, workers: int
) -> None:
    """By the kernel, at random: all sixteen go to one worker once in 32,768 times."""
    asked = {uuid4().hex for _ in range(16)}
    async with AsyncClient(served.target, channels=channels) as client:
        for request_id in asked:
            await client.info(request_id=request_id)
    await until(lambda: asked <= answered_by(served).keys())
    who = answered_by(served)
    assert len({who[request_id] for request_id in asked}) == workers


async def test_a_rolling_restart_loses_no_call(served: Served, filled: str) -> None:
    async with loaded(served.target, filled, clients=2, channels=4, callers=4) as load:
        old = pids(served)
        served.process.send_signal(signal.SIGHUP)
        await until(lambda: not any(alive(pid) for pid in old))
        after, answered = served.workers(), sum(load.answers.values())
        await until(lambda: sum(load.answers.values()) > answered + 100)
    assert (load.failures, load.wrong) == ({}, [])
    assert after.keys() == {1, 2}
    assert all(len(both) == 1 for both in after.values())
    # Each call that was answered was answered by one of the workers, and both answered some.
    asked = {f"{caller}-{n}" for caller, count in load.answers.items() for n in range(count)}
    await until(lambda: asked <= answered_by(served).keys())
    workers = answered_by(served)
    assert {workers[request_id] for request_id in asked} == {1, 2}


async def test_a_worker_that_is_killed_disturbs_its_own_callers_only(
    served: Served, filled: str
) -> None:
    (victim,), logged = served.workers()[1], len(served.lines())
    async with loaded(served.target, filled, clients=8, channels=1, callers=1) as load:
        await until(lambda: sum(load.answers.values()) > 100)
        at_first = {caller: answered_by(served)[f"{caller}-0"] for caller in load.answers}
        os.kill(victim, signal.SIGKILL)
        killed = dict(load.answers)
        # All go on, those of the dead worker too, and it comes back.
        await until(lambda: all(load.answers[caller] > killed[caller] + 10 for caller in killed))
        await until(lambda: "worker 1 is ready" in events(served, logged))
    assert load.wrong == []
    for caller, failures in load.failures.items():
        # gRPC repeats a search that has no event yet; one that has ends, once.
        assert at_first[caller] == 1
        assert [type(error) for error in failures] == [UnavailableError]
    assert "worker 1 ended with status -9; starting it again" in events(served, logged)
    assert not any(event.startswith("worker 2") for event in events(served, logged))


@contextmanager
def one_client_a_worker(served: Served) -> Iterator[tuple[Client, Client]]:
    """A client whose one connection leads to worker 1, and one for worker 2."""
    with ExitStack() as stack:
        found: dict[int, Client] = {}
        end = time.monotonic() + SOON_S
        while len(found) < 2:
            client, request_id = stack.enter_context(Client(served.target)), uuid4().hex
            client.info(request_id=request_id)
            while request_id not in (workers := answered_by(served)):
                assert time.monotonic() < end
            found.setdefault(workers[request_id], client)
        yield found[1], found[2]


def test_what_one_worker_changes_another_sees_at_once(served: Served, collection: str) -> None:
    with one_client_a_worker(served) as (one, two):

        def found_by(client: Client) -> set[str]:
            return {hit.document_id for hit in client.hits("bicycle", collection=collection)}

        for writer, reader in ((one, two), (two, one)):
            for batch in (DOCUMENTS[:4], DOCUMENTS[4:]):
                writer.upsert(collection, batch).final()
                assert {document.id for document in batch} <= found_by(reader)
            writer.delete(collection, ["d0"])
            assert found_by(reader) == FOUND - {"d0"}
            # The reader remembers the collection, which the writer deletes: it is made again.
            writer.drop_collection(collection)
            reader.upsert(collection, DOCUMENTS[:2]).final()
            assert found_by(writer) == {"d0", "d1"}
            # And now it is made again with other vectors.
            writer.drop_collection(collection)
            writer.create_collection(collection, vectors=["other.terms"])
            assert [one.name for one in reader.collection(collection).vectors] == ["other.terms"]
            assert reader.upsert(collection, DOCUMENTS).final().upserted == 8
            with pytest.raises(TamisClientError, match=r"does not index 'bm25\.terms'"):
                found_by(reader)
            reader.drop_collection(collection)
            with pytest.raises(TamisClientError, match="no collection"):
                found_by(writer)


def test_sigterm_lets_the_streams_of_all_workers_finish(tmp_path: Path) -> None:
    with crew(tmp_path) as served, one_client_a_worker(served) as clients:
        for client in clients:
            client.upsert("c", DOCUMENTS[:1]).final()
        streams = [client.upsert("c", DOCUMENTS, batch=1) for client in clients]
        assert [next(stream).upserted for stream in streams] == [1, 1]
        children = served.children()
        served.process.send_signal(signal.SIGTERM)
        assert [stream.final().upserted for stream in streams] == [8, 8]
        assert served.process.wait(SOON_S) == 0
        assert len(children) == 3
        assert not any(alive(pid) for pid in children)
        with pytest.raises(UnavailableError):
            clients[0].hits("too late", collection="c", timeout=5)


def test_a_caller_s_drain_is_for_all_workers(tmp_path: Path) -> None:
    with crew(tmp_path) as served, grpc.insecure_channel(served.target) as channel:
        stub: Any = server_service_pb2_grpc.ServerServiceStub(channel)
        stub.Drain(server_service_pb2.DrainRequest())
        assert served.process.wait(SOON_S) == 0


async def test_a_parent_that_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    with crew(tmp_path) as served:
        children = served.children()
        assert len(children) == 3
        served.process.kill()
        served.process.wait(SOON_S)
        await until(lambda: not any(alive(pid) for pid in children))


async def test_a_rolling_restart_that_fails_changes_nothing(served: Served, filled: str) -> None:
    """The settings are read again by each worker that starts: a mistake must not end the server."""
    before, logged = pids(served), len(served.lines())
    settings = served.data.with_name("tamis.toml")
    good = settings.read_text()
    settings.write_text(good.replace('"bm25"', '"bm26"', 1))
    served.process.send_signal(signal.SIGHUP)
    end = "worker 1 and those after it stay as they are"
    await until(lambda: end in events(served, logged))
    assert any("worker 1: 'bm26' is not one of" in event for event in events(served, logged))
    assert pids(served) == before
    settings.write_text(good + EXTRA)
    served.process.send_signal(signal.SIGHUP)
    await until(lambda: not any(alive(pid) for pid in before))
    settings.write_text(good)
    async with AsyncClient(served.target) as client:
        assert (await client.info()).pipelines == ("default", "extra")
        assert len(await client.hits("bicycle", collection=filled)) == 8


async def test_prometheus_finds_the_sum_of_all_workers(served: Served, metrics_port: int) -> None:
    def count(name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    info = 'grpc_server_handled_total{grpc_code="OK",grpc_method="GetServerInfo"'
    before = count(info)
    async with AsyncClient(served.target, channels=16) as client:
        for _ in range(16):
            await client.info()
    await until(lambda: count(info) == before + 16)
    (victim,), logged = served.workers()[1], len(served.lines())
    os.kill(victim, signal.SIGKILL)
    await until(lambda: "worker 1 is ready" in events(served, logged))
    assert count(info) == before + 16  # what the dead worker counted stays counted
    assert count("process_resident_memory_bytes") > 0


def test_a_server_whose_workers_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "tamis.toml"
    settings.write_text(SETTINGS.format(metrics_port=0).replace('"bm25"', '"bm26"', 1))
    with (
        pytest.raises(AssertionError, match=r"tamis: worker [12]: .*'bm26' is not one of"),
        serving(tmp_path / "data", settings=settings, workers=2),
    ):
        pass
