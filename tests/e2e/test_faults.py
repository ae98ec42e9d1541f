"""What happens when a part goes away while the server serves."""

import os
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from drawings import documents
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis_server import running
from serving import ROOT, Served, serving

from tamis.client import Client, UnavailableError

DEADLINE_S = 3.0  # of a search that takes a small part of that on a busy machine
TEXT = (ROOT / "deploy" / "tamis.toml").read_text()


def with_redis(folder: Path, url: str) -> Path:
    settings = folder / "tamis.toml"
    settings.write_text(TEXT.replace('redis_url = ""', f'redis_url = "{url}"'))
    return settings


def test_documents_are_there_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as served, Client(served.target) as client:
        client.upsert("kept", documents()).final()
        before = [hit.document_id for hit in client.hits("a red circle", collection="kept")]
        assert served.stop() == 0
    with serving(tmp_path / "data") as served, Client(served.target) as client:
        after = [hit.document_id for hit in client.hits("a red circle", collection="kept")]
        assert client.collection("kept").documents == 12
    assert before == after


def test_a_killed_index_comes_back_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as served, Client(served.target) as client:
        acknowledged = 0
        for progress in client.upsert("kept", documents(), batch=4):
            acknowledged = progress.upserted
            if acknowledged == 8:
                (engine,) = served.children()
                os.kill(engine, signal.SIGKILL)
        assert acknowledged == 12
        assert client.collection("kept").documents == 12
        assert len(client.hits("a shape", collection="kept", k=12)) == 12
        assert served.process.poll() is None


def test_redis_may_be_absent_at_first_and_lost_later(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with running(folder) as redis:
        settings = with_redis(tmp_path, redis.url)
        redis.stop()
        with (
            serving(tmp_path / "data", settings=settings) as served,
            Client(served.target) as client,
        ):
            client.upsert("c", documents()).final()
            assert len(client.hits("without Redis", collection="c")) == 10
            redis.start()
            assert len(client.hits("with Redis", collection="c")) == 10
            redis.command("CONFIG", "SET", "maxmemory", "1")
            assert len(client.hits("with a full Redis", collection="c")) == 10
            redis.freeze()
            for i in range(10):  # before its breaker opens, and after
                assert len(client.hits(f"frozen {i}", collection="c", timeout=DEADLINE_S)) == 10
            redis.stop()
            assert len(client.hits("without Redis again", collection="c")) == 10


def health(target: str) -> int:
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        status: int = stub.Check(health_pb2.HealthCheckRequest()).status
        return status


def test_a_drain_lets_a_call_in_flight_finish(tmp_path: Path) -> None:
    """The upsert that is under way when SIGTERM comes still gets its last answer."""
    with serving(tmp_path / "data") as served, Client(served.target) as client:
        assert health(served.target) == health_pb2.HealthCheckResponse.SERVING
        documents_in_flight = client.upsert("c", documents(), batch=1)
        assert next(documents_in_flight).upserted == 1
        served.process.send_signal(signal.SIGTERM)
        assert documents_in_flight.final().upserted == 12
        assert served.process.wait(60) == 0
        with pytest.raises(UnavailableError):
            client.hits("too late", collection="c", timeout=5)


def test_the_port_speaks_reflection_under_both_names(served: Served) -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    for version in ("v1alpha", "v1"):
        with grpc.insecure_channel(served.target) as channel:
            ask = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            (answer,) = ask(iter([request]))
        names = {service.name for service in answer.list_services_response.service}
        assert {"tamis.v1.RetrievalService", "grpc.health.v1.Health"} <= names
