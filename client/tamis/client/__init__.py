"""The Python client of tamis: `Client`, and `AsyncClient` for asyncio. It needs grpcio alone.

from tamis.client import Client

with Client("localhost:50051") as client:
    for hit in client.hits("a red bicycle", collection="stamps", k=3):
        print(hit.score, hit.document_id)
"""

from tamis.client.aio import AsyncClient
from tamis.client.aio_session import AsyncSession
from tamis.client.aio_streams import AsyncSearchStream, AsyncUpsertStream
from tamis.client.enums import (
    CachePolicy,
    ContextDelivery,
    EmbeddingSource,
    FieldType,
    Modality,
    Priority,
    Reason,
    Side,
    SkipReason,
    Stage,
    TermVariant,
    VectorKind,
    View,
)
from tamis.client.errors import (
    AlreadyExistsError,
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    TamisClientError,
    UnavailableError,
    UnimplementedError,
)
from tamis.client.filters import Filter, all_of, any_of, none_of
from tamis.client.results import (
    DocumentFailure,
    Event,
    Failure,
    Hit,
    Ranked,
    Refined,
    SearchSummary,
    StageResult,
    StageSkipped,
    StageTiming,
    UpsertProgress,
)
from tamis.client.sync import Client
from tamis.client.sync_session import Session
from tamis.client.sync_streams import SearchStream, UpsertStream
from tamis.client.tensors import (
    Context,
    ContextPart,
    Embedding,
    KeyValueCache,
    SparseVector,
    Tensor,
    VisualTokens,
)
from tamis.client.types import (
    CallOptions,
    Collection,
    Document,
    Input,
    Limits,
    Query,
    SearchOptions,
    ServerInfo,
    Snapshot,
    TermWeighting,
    VectorField,
)

__all__ = [
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncSearchStream",
    "AsyncSession",
    "AsyncUpsertStream",
    "CachePolicy",
    "CallCancelledError",
    "CallOptions",
    "Client",
    "Collection",
    "Context",
    "ContextDelivery",
    "ContextPart",
    "DeadlineExceededError",
    "Document",
    "DocumentFailure",
    "Embedding",
    "EmbeddingSource",
    "Event",
    "FailedPreconditionError",
    "Failure",
    "FieldType",
    "Filter",
    "Hit",
    "Input",
    "InternalError",
    "InvalidRequestError",
    "KeyValueCache",
    "Limits",
    "Modality",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "Priority",
    "Query",
    "Ranked",
    "Reason",
    "Refined",
    "SearchOptions",
    "SearchStream",
    "SearchSummary",
    "ServerInfo",
    "Session",
    "Side",
    "SkipReason",
    "Snapshot",
    "SparseVector",
    "Stage",
    "StageResult",
    "StageSkipped",
    "StageTiming",
    "TamisClientError",
    "Tensor",
    "TermVariant",
    "TermWeighting",
    "UnavailableError",
    "UnimplementedError",
    "UpsertProgress",
    "UpsertStream",
    "VectorField",
    "VectorKind",
    "View",
    "VisualTokens",
    "all_of",
    "any_of",
    "none_of",
]
