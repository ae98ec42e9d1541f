"""Small servers of tamis.v1 on a real port, so that tests of the client mock nothing of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tamis.v1 import collection_service_pb2 as collections_pb2
from tamis.v1 import collection_service_pb2_grpc as collections_grpc
from tamis.v1 import (
    context_pb2,
    document_pb2,
    failure_pb2,
    refine_service_pb2,
    refine_service_pb2_grpc,
    rerank_service_pb2,
    rerank_service_pb2_grpc,
    server_service_pb2,
    stage_pb2,
)
from tamis.v1 import embedding_service_pb2 as embedding_pb2
from tamis.v1 import embedding_service_pb2_grpc as embedding_grpc
from tamis.v1 import representation_pb2 as representation
from tamis.v1 import retrieval_service_pb2 as retrieval_pb2
from tamis.v1 import retrieval_service_pb2_grpc as retrieval_grpc
from tamis.v1 import server_service_pb2_grpc as server_grpc

Play = Callable[[retrieval_pb2.SearchRequest, Any], Awaitable[None]]
Trailers = Sequence[tuple[str, str | bytes]]

# To a type checker these are abstract; what a fake leaves out answers UNIMPLEMENTED, as it should.
RetrievalMethods: Any = retrieval_grpc.RetrievalServiceServicer
CollectionsMethods: Any = collections_grpc.CollectionServiceServicer
EmbeddingMethods: Any = embedding_grpc.EmbeddingServiceServicer
RefineMethods: Any = refine_service_pb2_grpc.RefineServiceServicer
RerankMethods: Any = rerank_service_pb2_grpc.RerankServiceServicer
ServerMethods: Any = server_grpc.ServerServiceServicer


def ranking(stage: int, *ids: str) -> retrieval_pb2.SearchResponse:
    """One stage's result."""
    hits = [
        stage_pb2.Hit(
            document_id=one,
            score=1 / rank,
            movement=stage - 1,
            document=document_pb2.Document(id=one),
        )
        for rank, one in enumerate(ids, 1)
    ]
    timing = stage_pb2.StageTiming(total_us=1500, model_us=700)
    result = stage_pb2.StageResult(hits=hits, method="fake", timing=timing)
    return retrieval_pb2.SearchResponse(sequence=stage - 1, stage=stage, result=result)  # type: ignore[arg-type]


def summary(final: int = stage_pb2.STAGE_RERANK) -> retrieval_pb2.SearchResponse:
    """The last event."""
    return retrieval_pb2.SearchResponse(
        sequence=9,
        summary=retrieval_pb2.SearchSummary(final_stage=final, total_us=2500),  # type: ignore[arg-type]
    )


SKIPPED = retrieval_pb2.SearchResponse(
    stage=stage_pb2.STAGE_REFINE,
    skipped=stage_pb2.StageSkipped(
        reason=stage_pb2.SKIP_REASON_BUDGET_EXCEEDED, message="5 ms left"
    ),
)


async def whole(request: retrieval_pb2.SearchRequest, context: Any) -> None:
    """Two results, a skipped stage, and the summary."""
    for event in (ranking(1, "a", "b"), ranking(2, "b", "a"), SKIPPED, summary()):
        await context.write(event)


async def endless(request: retrieval_pb2.SearchRequest, context: Any) -> None:
    """One result, then nothing until the caller goes."""
    await context.write(ranking(1, "a"))
    await asyncio.Event().wait()


def refusing(code: grpc.StatusCode, details: str, trailers: Trailers = ()) -> Play:
    """Ends the call with a status."""

    async def play(request: retrieval_pb2.SearchRequest, context: Any) -> None:
        await context.abort(code, details, tuple(trailers))

    return play


class Retrieval(RetrievalMethods):  # type: ignore[misc]
    """Answers searches as its plays say, the last one again and again; remembers what came."""

    def __init__(self, *plays: Play) -> None:
        self._plays = list(plays)
        self.cancels = 0
        self.peers: set[str] = set()  # the connections that calls came over
        self.requests: list[retrieval_pb2.SearchRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.cancelled = asyncio.Event()

    async def Search(self, request: Any, context: Any) -> None:  # noqa: N802
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.add(context.peer())
        play = self._plays.pop(0) if len(self._plays) > 1 else self._plays[0]
        try:
            await play(request, context)
        except asyncio.CancelledError:
            self.cancels += 1
            self.cancelled.set()
            raise

    async def BatchSearch(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Finds each text, fails `bad`, and has no result for `nothing`."""
        results = []
        for one in request.requests:
            match one.query.text:
                case "bad":
                    why = failure_pb2.Failure(
                        reason=failure_pb2.REASON_INVALID_REQUEST, message="not a text"
                    )
                    results.append(retrieval_pb2.BatchSearchResult(failure=why))
                case "nothing":
                    results.append(retrieval_pb2.BatchSearchResult())
                case text:
                    found = ranking(stage_pb2.STAGE_RERANK, text, f"{one.k}")
                    results.append(
                        retrieval_pb2.BatchSearchResult(result=found.result, stage=found.stage)
                    )
        return retrieval_pb2.BatchSearchResponse(results=results)


class Collections(CollectionsMethods):  # type: ignore[misc]
    """Keeps documents in memory. An id that begins with `bad` is refused, as a picture may be."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, document_pb2.Document]] = {}
        self.messages: list[int] = []  # how many documents each upsert message had
        self.over = asyncio.Event()  # an upsert ended, in whatever way

    def _collection(self, name: str) -> collections_pb2.Collection:
        vector = representation.VectorField(
            name="mini.dense", kind=representation.VECTOR_KIND_DENSE, dim=4, fingerprint="f"
        )
        return collections_pb2.Collection(
            name=name, vectors=[vector], documents=len(self.held[name])
        )

    async def _known(self, name: str, context: Any) -> dict[str, document_pb2.Document]:
        if name not in self.held:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{name}: no such collection")
        return self.held[name]

    async def CreateCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name in self.held:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name}: exists already")
        self.held[request.name] = {}
        return collections_pb2.CreateCollectionResponse(collection=self._collection(request.name))

    async def DescribeCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._known(request.name, context)
        return collections_pb2.DescribeCollectionResponse(collection=self._collection(request.name))

    async def ListCollections(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = [self._collection(name) for name in sorted(self.held)]
        return collections_pb2.ListCollectionsResponse(collections=found)

    async def DeleteCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._known(request.name, context)
        del self.held[request.name]
        return collections_pb2.DeleteCollectionResponse()

    async def DeleteDocuments(self, request: Any, context: Any) -> Any:  # noqa: N802
        held = await self._known(request.collection, context)
        gone = [one for one in request.ids if held.pop(one, None) is not None]
        return collections_pb2.DeleteDocumentsResponse(deleted=len(gone))

    async def GetDocuments(self, request: Any, context: Any) -> Any:  # noqa: N802
        held = await self._known(request.collection, context)
        found = [held[one] for one in request.ids if one in held]
        return collections_pb2.GetDocumentsResponse(documents=found)

    async def UpsertDocuments(self, requests: Any, context: Any) -> None:  # noqa: N802
        upserted = failed = 0
        try:
            async for request in requests:
                self.messages.append(len(request.documents))
                if request.collection == "closed":
                    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "closed for writing")
                bad = [one for one in request.documents if one.id.startswith("bad")]
                held = self.held.setdefault(request.collection, {})
                held.update({one.id: one for one in request.documents if one not in bad})
                upserted += len(request.documents) - len(bad)
                failed += len(bad)
                why = failure_pb2.Failure(
                    reason=failure_pb2.REASON_INVALID_REQUEST, message="not a picture"
                )
                failures = [
                    document_pb2.DocumentFailure(document_id=one.id, failure=why) for one in bad
                ]
                await context.write(
                    collections_pb2.UpsertDocumentsResponse(
                        upserted=upserted, failed=failed, failures=failures
                    )
                )
        finally:
            # Of a call that its caller cancels, grpc.aio cancels the handler or ends the requests,
            # whichever comes first.
            self.over.set()


class Embedding(EmbeddingMethods):  # type: ignore[misc]
    """Makes of each text the vector (length, 1), and fails where there is none."""

    async def Embed(self, request: Any, context: Any) -> Any:  # noqa: N802
        import numpy as np

        results = []
        for one in request.inputs:
            if not one.HasField("text"):
                why = failure_pb2.Failure(
                    reason=failure_pb2.REASON_INVALID_REQUEST,
                    message=f"{len(one.image.data)} bytes are no picture",
                )
                results.append(embedding_pb2.EmbedResult(failure=why))
                continue
            data = np.array([len(one.text), 1], np.float32).tobytes()
            tensor = representation.Tensor(
                dtype=representation.DATA_TYPE_FLOAT32, shape=[2], data=data
            )
            made = representation.Representation(name=f"{request.encoder}.dense", tensor=tensor)
            sparse = representation.Representation(
                name=f"{request.encoder}.terms",
                sparse=representation.SparseVector(indices=[7], values=[0.5]),
            )
            results.append(
                embedding_pb2.EmbedResult(
                    embedding=embedding_pb2.Embedding(
                        representations=[made, sparse], fingerprint="f"
                    )
                )
            )
        return embedding_pb2.EmbedResponse(results=results)


def _unread(documents: Any) -> list[document_pb2.DocumentFailure]:
    why = failure_pb2.Failure(reason=failure_pb2.REASON_INVALID_REQUEST, message="not a picture")
    return [
        document_pb2.DocumentFailure(document_id=one.id, failure=why)
        for one in documents
        if one.id.startswith("bad")
    ]


class Reranking(RerankMethods):  # type: ignore[misc]
    """Puts the last document first."""

    async def Rerank(self, request: Any, context: Any) -> Any:  # noqa: N802
        good = [one.id for one in request.documents if not one.id.startswith("bad")]
        order = ranking(stage_pb2.STAGE_RERANK, *reversed(good), request.pipeline)
        return rerank_service_pb2.RerankResponse(
            hits=order.result.hits, failures=_unread(request.documents)
        )


class Refining(RefineMethods):  # type: ignore[misc]
    """Keeps the query of each text, and says the budget. Remembers what came.

    Of a context it gives frames of three bytes, and no last one where the handle is `cut`.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def Refine(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        parts = [
            context_pb2.ContextPart(document_id=one.id, method="fake", text=request.query.text)
            for one in request.documents
            if not one.id.startswith("bad")
        ]
        return refine_service_pb2.RefineResponse(
            context=context_pb2.Context(parts=parts, tokens_before=9, tokens_after=request.budget),
            failures=_unread(request.documents),
            warnings=[failure_pb2.Failure(message="not kept")] if request.context_delivery else [],
        )

    async def GetContext(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.handle == "gone":
            await context.abort(grpc.StatusCode.NOT_FOUND, "it has expired")
        cache = context_pb2.KeyValueCache(document_ids=["a", "b"], artefact=b"tamisctx")
        part = context_pb2.ContextPart(method="keydiff", key_values=cache)
        data = context_pb2.Context(parts=[part], tokens_before=9).SerializeToString()
        frames = [data[at : at + 3] for at in range(0, len(data), 3)]
        if request.handle == "nonsense":
            frames = [b"\xff\xff"]
        for number, frame in enumerate(frames, 1):
            last = number == len(frames) and request.handle != "cut"
            yield refine_service_pb2.GetContextResponse(frame=frame, last=last)


class Server(ServerMethods):  # type: ignore[misc]
    """Tells limits."""

    def __init__(self, max_in_flight: int = 0, max_message_bytes: int = 0) -> None:
        self._max_in_flight = max_in_flight
        self._max_message_bytes = max_message_bytes
        self.asked = 0

    async def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        limits = server_service_pb2.Limits(
            max_k=1000,
            max_message_bytes=self._max_message_bytes,
            max_text_bytes=1000,
            max_image_bytes=2000,
            max_batch_inputs=4,
            max_in_flight=self._max_in_flight,
        )
        self.asked += 1
        return server_service_pb2.GetServerInfoResponse(
            version="0.1.0", pipelines=["default"], limits=limits
        )


ADDERS: tuple[tuple[type, Any], ...] = (
    (Retrieval, retrieval_grpc.add_RetrievalServiceServicer_to_server),
    (Collections, collections_grpc.add_CollectionServiceServicer_to_server),
    (Embedding, embedding_grpc.add_EmbeddingServiceServicer_to_server),
    (Refining, refine_service_pb2_grpc.add_RefineServiceServicer_to_server),
    (Reranking, rerank_service_pb2_grpc.add_RerankServiceServicer_to_server),
    (Server, server_grpc.add_ServerServiceServicer_to_server),
)


@asynccontextmanager
async def serving(*servicers: Any) -> AsyncIterator[str]:
    """Serves on a free port; gives the address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    for servicer in servicers:
        add = next(add for kind, add in ADDERS if isinstance(servicer, kind))
        add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
