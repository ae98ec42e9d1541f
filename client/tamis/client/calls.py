"""What each call sends and how its answer reads. Pure functions that both clients share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from tamis.client import enums, errors, filters, messages, tensors, types
from tamis.client.searching import as_query, build
from tamis.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    content_pb2,
    document_pb2,
    embedding_service_pb2,
    embedding_service_pb2_grpc,
    refine_service_pb2,
    refine_service_pb2_grpc,
    rerank_service_pb2,
    rerank_service_pb2_grpc,
    retrieval_service_pb2,
    retrieval_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
)

T = TypeVar("T")

HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


class Stubs:
    """What can be called over one channel, blocking or asyncio."""

    def __init__(self, channel: Any) -> None:
        self.collections: Any = collection_service_pb2_grpc.CollectionServiceStub(channel)
        self.embedding: Any = embedding_service_pb2_grpc.EmbeddingServiceStub(channel)
        self.refining: Any = refine_service_pb2_grpc.RefineServiceStub(channel)
        self.reranking: Any = rerank_service_pb2_grpc.RerankServiceStub(channel)
        self.retrieval: Any = retrieval_service_pb2_grpc.RetrievalServiceStub(channel)
        self.server: Any = server_service_pb2_grpc.ServerServiceStub(channel)
        # Its two messages are too small to depend on grpcio-health-checking: bytes in, bytes out.
        self.health: Any = channel.unary_unary(HEALTH)


@dataclass(frozen=True, slots=True)
class Unary(Generic[T]):
    """One question and one answer.

    Attributes:
        method: Finds what to call.
        request: What is sent.
        read: Makes the caller's value of the answer.
        limited: Whether it runs models, and so counts for the client's `max_concurrency`.
    """

    method: Callable[[Stubs], Any]
    request: Any
    read: Callable[[Any], T]
    limited: bool = False


def batch_search(
    queries: Sequence[types.Input],
    collection: str,
    k: int,
    pipeline: str | None,
    filter: filters.Filterable | None,
    view: str,
    options: types.SearchOptions,
) -> Unary[list[types.StageResult | types.Failure]]:
    """Several searches with the same settings. Blocks where they are files.

    Raises:
        OSError: A picture's file cannot be read.
        TypeError: An option is unknown.
        ValueError: A query is empty, or a filter or an option has no known form.
    """
    if options.get("representations"):
        raise ValueError("representations are those of one query: use search")
    requests = []
    for query in queries:
        search = build(
            query,
            collection=collection,
            text=None,
            image=None,
            instruction=None,
            task=None,
            k=k,
            pipeline=pipeline,
            filter=filter,
            view=view,
            options=options,
        )
        search.load()
        requests.append(search.request)
    return Unary(
        lambda stubs: stubs.retrieval.BatchSearch,
        retrieval_service_pb2.BatchSearchRequest(requests=requests),
        lambda response: [messages.batch_result(one) for one in response.results],
        limited=True,
    )


def call_options(options: types.SearchOptions) -> types.CallOptions:
    """What of a search's options is said of the call, not in the request."""
    names = types.CallOptions.__annotations__.keys()
    return cast(
        types.CallOptions, {name: value for name, value in options.items() if name in names}
    )


def _content(query: types.Input) -> content_pb2.Content:
    one = as_query(query)
    content = messages.content(one)
    if isinstance(one.image, Path):
        content.image.data = one.image.read_bytes()
    return content


def rerank(
    query: types.Input,
    documents: Sequence[types.Document],
    pipeline: str | None,
    max_calls: int | None,
) -> Unary[types.Ranked]:
    """Orders documents. Blocks where the query is a file.

    Raises:
        OSError: The query's file cannot be read.
        ValueError: A document has no content, or metadata that JSON cannot hold.
    """
    return Unary(
        lambda stubs: stubs.reranking.Rerank,
        rerank_service_pb2.RerankRequest(
            pipeline=pipeline,
            query=_content(query),
            documents=map(messages.document_message, documents),
            max_calls=max_calls,
        ),
        messages.ranked,
        limited=True,
    )


def refine(
    query: types.Input | None,
    documents: Sequence[types.Document],
    pipeline: str | None,
    budget: int | None,
) -> Unary[types.Refined]:
    """Makes a context of documents. Blocks where the query is a file.

    Raises:
        OSError: The query's file cannot be read.
        ValueError: A document has no content, or metadata that JSON cannot hold.
    """
    return Unary(
        lambda stubs: stubs.refining.Refine,
        refine_service_pb2.RefineRequest(
            pipeline=pipeline,
            query=None if query is None else _content(query),
            documents=map(messages.document_message, documents),
            budget=budget,
        ),
        lambda response: types.Refined(
            messages.context(response.context), messages.failures(response.failures)
        ),
        limited=True,
    )


def embed(
    encoder: str, inputs: Sequence[types.Input], side: str, heads: Sequence[str]
) -> Unary[list[tensors.Embedding | types.Failure]]:
    """Encodes some inputs. Blocks where they are files.

    Raises:
        OSError: A picture's file cannot be read.
    """
    return Unary(
        lambda stubs: stubs.embedding.Embed,
        embedding_service_pb2.EmbedRequest(
            encoder=encoder,
            inputs=map(_content, inputs),
            side=messages.number_of(enums.Side, embedding_service_pb2.Side, side),
            heads=heads,
        ),
        lambda response: [messages.embedding(one) for one in response.results],
        limited=True,
    )


def reads_files(inputs: Sequence[types.Input]) -> bool:
    """Whether making the request reads from the disk."""
    return any(isinstance(as_query(one).image, Path) for one in inputs)


def create_collection(name: str, vectors: Sequence[str]) -> Unary[types.Collection]:
    """Makes an empty collection."""
    return Unary(
        lambda stubs: stubs.collections.CreateCollection,
        collection_service_pb2.CreateCollectionRequest(name=name, vectors=vectors),
        lambda response: messages.collection(response.collection),
    )


def collection(name: str) -> Unary[types.Collection]:
    """What a collection holds."""
    return Unary(
        lambda stubs: stubs.collections.DescribeCollection,
        collection_service_pb2.DescribeCollectionRequest(name=name),
        lambda response: messages.collection(response.collection),
    )


def collections() -> Unary[list[types.Collection]]:
    """What every collection holds."""
    return Unary(
        lambda stubs: stubs.collections.ListCollections,
        collection_service_pb2.ListCollectionsRequest(),
        lambda response: [messages.collection(one) for one in response.collections],
    )


def drop_collection(name: str) -> Unary[None]:
    """Deletes a collection with all that it holds."""
    return Unary(
        lambda stubs: stubs.collections.DeleteCollection,
        collection_service_pb2.DeleteCollectionRequest(name=name),
        lambda _: None,
    )


def _listed(ids: Sequence[str]) -> Sequence[str]:
    if isinstance(ids, str):  # a text is a sequence of texts too: its characters
        raise ValueError(f"ids is a list of texts, not the text {ids!r}")  # noqa: TRY004
    return ids


def delete(collection: str, ids: Sequence[str], filter: filters.Filterable | None) -> Unary[int]:
    """Deletes documents by id or by filter.

    Raises:
        ValueError: Both are given, or neither, or the filter is empty.
    """
    tests = None if filter is None else filters.message(filter)
    if bool(_listed(ids)) == (tests is not None):
        raise ValueError("delete takes ids or a filter: exactly one of the two")
    if tests is not None and not (tests.must or tests.must_not or tests.should):
        raise ValueError("an empty filter would delete everything: drop the collection instead")
    return Unary(
        lambda stubs: stubs.collections.DeleteDocuments,
        collection_service_pb2.DeleteDocumentsRequest(collection=collection, ids=ids, filter=tests),
        lambda response: int(response.deleted),
    )


def get(collection: str, ids: Sequence[str], view: str) -> Unary[list[types.Document]]:
    """Documents by id."""
    return Unary(
        lambda stubs: stubs.collections.GetDocuments,
        collection_service_pb2.GetDocumentsRequest(
            collection=collection,
            ids=_listed(ids),
            view=messages.number_of(enums.View, document_pb2.DocumentView, view),
        ),
        lambda response: [messages.document(one) for one in response.documents],
    )


def info() -> Unary[types.ServerInfo]:
    """What the server is and takes."""
    return Unary(
        lambda stubs: stubs.server.GetServerInfo,
        server_service_pb2.GetServerInfoRequest(),
        messages.server_info,
    )


def ready() -> Unary[bool]:
    """Whether the server's health says that it takes searches."""
    return Unary(lambda stubs: stubs.health, b"", lambda response: bool(response == SERVING))


def ready_despite(error: errors.TamisClientError) -> bool:
    """Whether a health check that failed still says that the server is there.

    Raises:
        TamisClientError: It failed for a reason that waiting does not change.
    """
    match error:
        case errors.UnimplementedError():  # it answers, and has no health service
            return True
        case errors.UnavailableError() | errors.DeadlineExceededError() | errors.NotFoundError():
            return False
    raise error


def pauses() -> Iterator[float]:
    """Seconds between two looks whether a server is ready."""
    return chain((0.05, 0.1, 0.2, 0.5), repeat(1.0))


def not_ready(target: str, timeout: float) -> errors.DeadlineExceededError:
    """What waiting in vain raises."""
    return errors.DeadlineExceededError(f"{target} was not ready within {timeout:g} s")
