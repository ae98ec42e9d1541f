"""What each call sends and how its answer reads. Pure functions that both clients share."""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import cast

from tamis.client import (
    enums,
    errors,
    filters,
    messages,
    result_messages,
    results,
    tensors,
    types,
    words,
)
from tamis.client.searching import as_query, build
from tamis.client.unary import Unary
from tamis.v1 import (
    content_pb2,
    context_pb2,
    embedding_service_pb2,
    refine_service_pb2,
    rerank_service_pb2,
    retrieval_service_pb2,
    server_service_pb2,
)

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


def batch_search(
    queries: Sequence[types.Input],
    collection: str,
    k: int,
    pipeline: str | None,
    filter: filters.Filterable | None,
    view: str,
    options: types.SearchOptions,
) -> Unary[list[results.StageResult | results.Failure]]:
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
        lambda response: [result_messages.batch_result(one) for one in response.results],
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
) -> Unary[results.Ranked]:
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
        result_messages.ranked,
        limited=True,
    )


def refine(
    query: types.Input | None,
    documents: Sequence[types.Document],
    pipeline: str | None,
    budget: int | None,
    delivery: str,
) -> Unary[results.Refined]:
    """Makes a context of documents. Blocks where the query is a file.

    Raises:
        OSError: The query's file cannot be read.
        ValueError: A document has no content, or metadata that JSON cannot hold; or the delivery is
            unknown.
    """
    return Unary(
        lambda stubs: stubs.refining.Refine,
        refine_service_pb2.RefineRequest(
            pipeline=pipeline,
            query=None if query is None else _content(query),
            documents=map(messages.document_message, documents),
            budget=budget,
            context_delivery=words.number_of(
                enums.ContextDelivery, context_pb2.ContextDelivery, delivery
            ),
        ),
        lambda response: results.Refined(
            messages.context(response.context),
            result_messages.failures(response.failures),
            tuple(map(messages.failure, response.warnings)),
        ),
        limited=True,
    )


def embed(
    encoder: str, inputs: Sequence[types.Input], side: str, heads: Sequence[str]
) -> Unary[list[tensors.Embedding | results.Failure]]:
    """Encodes some inputs. Blocks where they are files.

    Raises:
        OSError: A picture's file cannot be read.
    """
    return Unary(
        lambda stubs: stubs.embedding.Embed,
        embedding_service_pb2.EmbedRequest(
            encoder=encoder,
            inputs=map(_content, inputs),
            side=words.number_of(enums.Side, embedding_service_pb2.Side, side),
            heads=heads,
        ),
        lambda response: [messages.embedding(one) for one in response.results],
        limited=True,
    )


def reads_files(inputs: Sequence[types.Input]) -> bool:
    """Whether making the request reads from the disk."""
    return any(isinstance(as_query(one).image, Path) for one in inputs)


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
