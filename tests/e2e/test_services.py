"""The services beside Search, over a real port."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from drawings import COLOURS, documents
from google.protobuf.duration_pb2 import Duration
from serving import Served

from tamis.v1 import document_pb2, failure_pb2, stage_pb2
from tamis.v1 import embedding_service_pb2 as embedding
from tamis.v1 import refine_service_pb2 as refine
from tamis.v1 import rerank_service_pb2 as rerank
from tamis.v1 import retrieval_service_pb2 as retrieval
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from tamis.v1.refine_service_pb2_grpc import RefineServiceStub
from tamis.v1.rerank_service_pb2_grpc import RerankServiceStub
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

BROKEN = b"not a picture"


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.target) as channel:
        yield channel


def request(collection: str, text: str, **fields: object) -> retrieval.SearchRequest:
    made = retrieval.SearchRequest(collection=collection, k=1, **fields)  # type: ignore[arg-type]
    made.query.text = text
    return made


def messages() -> list[document_pb2.Document]:
    made = []
    for document in documents():
        message = document_pb2.Document(id=document.id)
        message.content.text = document.text or ""
        message.content.image.data = document.image or b""
        made.append(message)
    return made


def test_a_batch_answers_each_query_and_a_bad_one_fails_alone(
    channel: grpc.Channel, drawings: str
) -> None:
    queries = [request(drawings, f"a {colour} circle") for colour in COLOURS]
    queries.insert(1, retrieval.SearchRequest(collection=drawings))
    response = RetrievalServiceStub(channel).BatchSearch(
        retrieval.BatchSearchRequest(requests=queries)
    )
    first, bad, *rest = response.results
    assert bad.failure.reason == failure_pb2.REASON_INVALID_REQUEST
    found = [result.result.hits[0].document_id for result in (first, *rest)]
    assert found == [f"{colour}-circle" for colour in COLOURS]
    assert all(result.stage == stage_pb2.STAGE_REFINE for result in (first, *rest))


def test_a_session_answers_many_searches_on_one_stream(
    channel: grpc.Channel, drawings: str
) -> None:
    def asked() -> Iterator[retrieval.SearchSessionRequest]:
        for colour in COLOURS:
            search = retrieval.SessionSearch(
                request=request(drawings, f"a {colour} square", request_id=colour)
            )
            yield retrieval.SearchSessionRequest(search=search)

    found: dict[str, str] = {}
    sequences: dict[str, list[int]] = {colour: [] for colour in COLOURS}
    for answer in RetrievalServiceStub(channel).SearchSession(asked()):
        sequences[answer.request_id].append(answer.response.sequence)
        if answer.response.HasField("result"):
            found[answer.request_id] = answer.response.result.hits[0].document_id
    assert found == {colour: f"{colour}-square" for colour in COLOURS}
    assert all(sequence == [0, 1, 2, 3] for sequence in sequences.values())


async def test_an_id_may_be_used_again_when_its_summary_is_there(
    served: Served, drawings: str
) -> None:
    search = retrieval.SessionSearch(request=request(drawings, "red", request_id="same"))
    async with grpc.aio.insecure_channel(served.target) as channel:
        session: Any = RetrievalServiceStub(channel).SearchSession()
        for _ in range(20):
            await session.write(retrieval.SearchSessionRequest(search=search))
            while not (answer := await session.read()).response.HasField("summary"):
                assert not answer.HasField("failure"), answer.failure
        session.cancel()


def test_a_bad_search_of_a_session_fails_alone(channel: grpc.Channel, drawings: str) -> None:
    def asked() -> Iterator[retrieval.SearchSessionRequest]:
        for name, text, timeout in (("bad", "", None), ("", "x", None), ("late", "x", 0)):
            search = retrieval.SessionSearch(
                request=request(drawings, text, request_id=name),
                timeout=None if timeout is None else Duration(seconds=timeout),
            )
            yield retrieval.SearchSessionRequest(search=search)
        yield retrieval.SearchSessionRequest(cancel="unknown")
        good = retrieval.SessionSearch(request=request(drawings, "red", request_id="good"))
        yield retrieval.SearchSessionRequest(search=good)

    answers = list(RetrievalServiceStub(channel).SearchSession(asked()))
    failures = {a.request_id: a.failure.reason for a in answers if a.HasField("failure")}
    assert failures == {
        "bad": failure_pb2.REASON_INVALID_REQUEST,
        "": failure_pb2.REASON_INVALID_REQUEST,
        "late": failure_pb2.REASON_DEADLINE_EXCEEDED,
    }
    assert [a.request_id for a in answers if a.response.HasField("summary")] == ["good"]


async def test_a_stream_of_inputs_is_embedded_as_it_comes(served: Served) -> None:
    async def inputs() -> AsyncIterator[embedding.EmbedStreamRequest]:
        for number in range(100):
            message = embedding.EmbedStreamRequest(
                input_id=str(number), encoder="minilm", heads=["dense"]
            )
            message.input.text = "" if number == 13 else f"text number {number}"
            yield message

    async with grpc.aio.insecure_channel(served.target) as channel:
        stream = EmbeddingServiceStub(channel).EmbedStream(inputs())
        results = {answer.input_id: answer.result async for answer in stream}
    assert len(results) == 100
    failed = [name for name, result in results.items() if result.HasField("failure")]
    assert failed == ["13"]
    assert results["0"].embedding.representations[0].tensor.shape == [384]


def test_supplied_documents_are_reranked(channel: grpc.Channel) -> None:
    asked = rerank.RerankRequest(documents=messages())
    asked.query.text = "a blue triangle"
    asked.documents.add(id="broken").content.image.data = BROKEN
    asked.documents.add(id="empty")
    response = RerankServiceStub(channel).Rerank(asked)
    assert response.hits[0].document_id == "blue-triangle"
    assert sorted(hit.document_id for hit in response.hits) == sorted(d.id for d in documents())
    assert sum(hit.movement for hit in response.hits) == 0
    assert {failure.document_id for failure in response.failures} == {"broken", "empty"}


def test_supplied_documents_are_refined(channel: grpc.Channel) -> None:
    asked = refine.RefineRequest(documents=messages()[:2], budget=10)
    asked.documents.add(id="broken").content.image.data = BROKEN
    response = RefineServiceStub(channel).Refine(asked)
    kept = [p.visual_tokens for p in response.context.parts if p.HasField("visual_tokens")]
    assert [len(tokens.positions) for tokens in kept] == [10, 10]
    assert response.context.tokens_after < response.context.tokens_before
    assert [failure.document_id for failure in response.failures] == ["broken"]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], r"documents: 0; from 1 to"),
        ([document_pb2.Document(id="a")] * 2, r"two of them have the same id"),
    ],
)
def test_supplied_documents_must_be_there_and_differ(
    channel: grpc.Channel, documents: list[document_pb2.Document], message: str
) -> None:
    asked = refine.RefineRequest(documents=documents)
    with pytest.raises(grpc.RpcError, match=message):
        RefineServiceStub(channel).Refine(asked)
