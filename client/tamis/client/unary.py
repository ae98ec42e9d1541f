"""Calls with one question and one answer, for both clients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tamis.v1 import (
    collection_service_pb2_grpc,
    embedding_service_pb2_grpc,
    refine_service_pb2_grpc,
    rerank_service_pb2_grpc,
    retrieval_service_pb2_grpc,
    server_service_pb2_grpc,
)

T = TypeVar("T")

HEALTH = "/grpc.health.v1.Health/Check"


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
