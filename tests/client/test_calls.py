"""The calls with one answer, readiness, and what the two clients have in common."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from fake_server import (
    Collections,
    Embedding,
    Refining,
    Reranking,
    Retrieval,
    Server,
    serving,
    whole,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tamis.client import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    DeadlineExceededError,
    Document,
    Failure,
    InternalError,
    KeyValueCache,
    NotFoundError,
    Query,
    Reason,
    SparseVector,
    Stage,
    TamisClientError,
    Tensor,
    UnavailableError,
    UnimplementedError,
    VectorKind,
)
from tamis.client import Embedding as Embedded
from tamis.client.surface import Surface
from tamis.v1 import context_pb2

PUBLIC = sorted(name for name in dir(Surface) if not name.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_both_clients_take_the_same_arguments(client: type, name: str) -> None:
    ours = inspect.signature(getattr(client, name))
    said = inspect.signature(getattr(Surface, name))
    assert list(ours.parameters.values()) == list(said.parameters.values())
    assert inspect.getdoc(getattr(client, name))


async def test_a_collection_lives_and_dies(connect: Any) -> None:
    async with serving(Collections()) as target, connect(target) as client:
        made = await client.create_collection("stamps", ["mini.dense"])
        assert made.vectors[0].kind is VectorKind.DENSE
        with pytest.raises(AlreadyExistsError, match="stamps: exists already"):
            await client.create_collection("stamps")
        await client.upsert("stamps", [Document("a", "x", metadata={"year": 1990})]).final()
        assert (await client.collection("stamps")).documents == 1
        assert [one.name for one in await client.collections()] == ["stamps"]
        found = await client.get("stamps", ["b", "a"])
        assert found == [Document("a", "x", metadata={"year": 1990})]
        assert await client.delete("stamps", ["a", "b"]) == 1
        await client.drop_collection("stamps")
        with pytest.raises(NotFoundError, match="stamps: no such collection") as caught:
            await client.collection("stamps", request_id="r7")
    assert caught.value.request_id == "r7"


async def test_an_input_that_cannot_be_encoded_fails_alone(connect: Any, tmp_path: Path) -> None:
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"abc")
    async with serving(Embedding()) as target, connect(target) as client:
        text, broken = await client.embed("mini", ["red bird", picture], side="document")
    assert isinstance(text, Embedded)
    dense = text.representations["mini.dense"]
    assert isinstance(dense, Tensor)
    assert np.asarray(dense).tolist() == [8, 1]
    assert text.representations["mini.terms"] == SparseVector((7,), (0.5,))
    assert isinstance(broken, Failure)
    assert broken.message == "3 bytes are no picture"


async def test_a_query_of_a_batch_fails_alone(connect: Any, tmp_path: Path) -> None:
    async with serving(Retrieval(whole)) as target, connect(target) as client:
        one, bad, nothing = await client.batch_search(
            ["red", "bad", "nothing"], collection="c", k=3, stop_after="rerank", timeout=5.0
        )
        picture = tmp_path / "picture.png"
        picture.write_bytes(b"png")
        (seen,) = await client.batch_search([Query("blue", picture)], collection="c")
    assert (one.stage, [hit.document_id for hit in one.hits]) == (Stage.RERANK, ["red", "3"])
    assert bad == Failure(Reason.INVALID_REQUEST, "not a text")
    assert nothing == Failure(Reason.UNAVAILABLE, "no stage has a result")
    assert seen.hits[0].document_id == "blue"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"representations": {"mini.dense": SparseVector((1,), (1.0,))}}, ValueError),
        ({"top_n": 3}, TypeError),
    ],
)
async def test_a_batch_refuses_what_it_cannot_take(
    connect: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(error, match=next(iter(options))):
            await client.batch_search(["red"], collection="c", **options)


async def test_the_caller_s_own_documents_are_ranked(connect: Any) -> None:
    documents = [Document(name, "x") for name in ("a", "bad", "b")]
    async with serving(Reranking()) as target, connect(target) as client:
        ranked = await client.rerank("red", documents, "fast")
    assert [hit.document_id for hit in ranked.hits] == ["b", "a", "fast"]
    assert [one.document_id for one in ranked.failures] == ["bad"]


async def test_the_caller_s_own_documents_become_a_context(connect: Any) -> None:
    documents = [Document(name, "x") for name in ("a", "bad", "b")]
    async with serving(Refining()) as target, connect(target) as client:
        refined = await client.refine("red", documents, budget=4)
        without = await client.refine(None, documents)
    assert [part.text for part in refined.context.parts] == ["red", "red"]
    assert (refined.context.tokens_before, refined.context.tokens_after) == (9, 4)
    assert [one.document_id for one in refined.failures] == ["bad"]
    assert without.context.text == "\n\n"


async def test_a_context_can_be_left_with_the_server(connect: Any) -> None:
    refining = Refining()
    async with serving(refining) as target, connect(target) as client:
        refined = await client.refine("red", [Document("a", "x")], context_delivery="handle")
        found = await client.get_context("a handle")
    assert refining.requests[0].context_delivery == context_pb2.CONTEXT_DELIVERY_HANDLE
    assert [warning.message for warning in refined.warnings] == ["not kept"]
    (part,) = found.parts
    assert (part.method, part.text, found.tokens_before) == ("keydiff", None, 9)
    assert part.key_values == KeyValueCache(("a", "b"), b"tamisctx")


@pytest.mark.parametrize(
    ("handle", "error", "message"),
    [
        ("gone", NotFoundError, "it has expired"),
        ("cut", InternalError, r"cut short after \d+ frames"),
        ("nonsense", InternalError, "what came is no context"),
    ],
)
async def test_a_context_that_is_not_whole_is_an_error(
    connect: Any, handle: str, error: type[TamisClientError], message: str
) -> None:
    async with serving(Refining()) as target, connect(target) as client:
        with pytest.raises(error, match=message) as raised:
            await client.get_context(handle)
    assert raised.value.request_id


async def test_the_server_says_what_it_takes(connect: Any) -> None:
    async with serving(Server()) as target, connect(target) as client:
        info = await client.info()
    assert (info.version, info.pipelines, info.limits.max_k) == ("0.1.0", ("default",), 1000)


async def test_what_a_server_lacks_is_unimplemented(connect: Any) -> None:
    async with serving(Server()) as target, connect(target) as client:
        with pytest.raises(UnimplementedError):
            await client.collections()


async def test_an_unreachable_server_is_unavailable_and_not_ready(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client:
        assert not await client.ready()
        with pytest.raises(UnavailableError):
            await client.info()
        with pytest.raises(DeadlineExceededError, match=r"127.0.0.1:1 was not ready within 0.1 s"):
            await client.wait_until_ready(timeout=0.1)


async def test_a_server_without_a_health_service_is_ready_when_it_answers(connect: Any) -> None:
    async with serving(Server()) as target, connect(target) as client:
        assert await client.ready()


async def test_waiting_ends_when_the_server_s_health_says_so(connect: Any) -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as client:
        assert not await client.ready()
        waiting = asyncio.ensure_future(client.wait_until_ready())
        await asyncio.sleep(0)
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await waiting
        assert await client.ready()
    await server.stop(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"ids": ["a"], "filter": {"a": "b"}}, "exactly one"),
        ({"filter": {}}, "would delete everything"),
        ({"ids": "abc"}, "ids is a list of texts, not the text 'abc'"),
    ],
)
async def test_delete_wants_ids_or_a_filter(
    connect: Any, arguments: dict[str, Any], message: str
) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match=message):
            await client.delete("c", **arguments)


async def test_an_unknown_option_is_refused(connect: Any) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="rerank_depth"):
            await client.collections(rerank_depth=3)


async def test_an_asyncio_client_may_be_made_before_its_loop() -> None:
    client = await asyncio.to_thread(AsyncClient, "127.0.0.1:1")
    async with serving(Retrieval(whole)) as target, client:
        client.target = target
        assert await client.hits("red", collection="c")
