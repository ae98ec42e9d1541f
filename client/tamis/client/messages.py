"""Between the wire's messages and the caller's values. Pure functions."""

from collections.abc import Iterable
from datetime import UTC
from enum import StrEnum
from typing import Any, TypeVar

from tamis.client import enums, metadata, tensors, types
from tamis.v1 import (
    collection_service_pb2,
    content_pb2,
    context_pb2,
    document_pb2,
    embedding_service_pb2,
    failure_pb2,
    representation_pb2,
    rerank_service_pb2,
    retrieval_service_pb2,
    server_service_pb2,
    stage_pb2,
)

E = TypeVar("E", bound=StrEnum)


def _prefix(wrapper: Any) -> str:
    return str(wrapper.Name(0)).removesuffix("UNSPECIFIED")


def _words(enum: type[E], wrapper: Any, zero: E) -> dict[int, E]:
    """Our word for each number of an enum; `zero` is the one for "unspecified"."""
    prefix = _prefix(wrapper)
    names = {name.removeprefix(prefix).lower(): number for name, number in wrapper.items()}
    return {0: zero} | {names[word]: word for word in enum if word in names}


STAGES = _words(enums.Stage, stage_pb2.Stage, enums.Stage.UNKNOWN)
SKIP_REASONS = _words(enums.SkipReason, stage_pb2.SkipReason, enums.SkipReason.UNKNOWN)
REASONS = _words(enums.Reason, failure_pb2.Reason, enums.Reason.UNKNOWN)
SOURCES = _words(
    enums.EmbeddingSource, retrieval_service_pb2.EmbeddingSource, enums.EmbeddingSource.NONE
)
KINDS = _words(enums.VectorKind, representation_pb2.VectorKind, enums.VectorKind.UNKNOWN)
DTYPES = {
    number: name.removeprefix("DATA_TYPE_").lower()
    for name, number in representation_pb2.DataType.items()
}
DTYPE_NUMBERS = {name: number for number, name in DTYPES.items()}


def number_of(enum: type[E], wrapper: Any, word: str) -> Any:
    """The wire's number of one of our words.

    Raises:
        ValueError: It is not one of them.
    """
    known = [one for one in enum if one != "unknown"]
    if word not in known:
        raise ValueError(f"{enum.__name__} is one of {', '.join(known)}; not {word!r}")
    return wrapper.Value(_prefix(wrapper) + word.upper())


def content(query: types.Query) -> content_pb2.Content:
    """The content as it is sent. A picture's path is left for the caller of this to read."""
    image = query.image
    if query.text is None and image is None and not query.frames:
        raise ValueError("needs a text, an image or frames")
    return content_pb2.Content(
        text=query.text,
        image=None
        if image is None
        else content_pb2.Image(data=image if isinstance(image, bytes) else b""),
        instruction=query.instruction,
        task=query.task,
        frames=[content_pb2.Image(data=frame) for frame in query.frames],
    )


def document_message(document: types.Document) -> document_pb2.Document:
    """The document as it is sent.

    Raises:
        ValueError: It has no content, or metadata that JSON cannot hold.
    """
    return document_pb2.Document(
        id=document.id,
        content=content(types.Query(document.text, document.image, frames=document.frames)),
        metadata=metadata.struct(document.metadata, document.id) if document.metadata else None,
    )


def document(message: document_pb2.Document) -> types.Document:
    """A document that came back."""
    # A search has some thirty of these: what is not there is not touched.
    found = message.content
    return types.Document(
        message.id,
        found.text if found.HasField("text") else None,
        found.image.data if found.HasField("image") else None,
        metadata.plain(message.metadata) if message.HasField("metadata") else {},
    )


def tensor(message: representation_pb2.Tensor) -> tensors.Tensor:
    """A tensor that came back; its memory is the message's own copy."""
    return tensors.Tensor(
        DTYPES.get(message.dtype, "unknown"), tuple(message.shape), memoryview(message.data)
    )


def representation(message: representation_pb2.Representation) -> Any:
    """A tensor or a sparse vector, or None where this client does not know the kind."""
    match message.WhichOneof("value"):
        case "tensor":
            return tensor(message.tensor)
        case "sparse":
            return tensors.SparseVector(tuple(message.sparse.indices), tuple(message.sparse.values))
        case _:
            return None


def representation_message(
    name: str, value: tensors.Tensor | tensors.SparseVector
) -> representation_pb2.Representation:
    """A representation as it is sent."""
    if isinstance(value, tensors.SparseVector):
        sparse = representation_pb2.SparseVector(indices=value.indices, values=value.values)
        return representation_pb2.Representation(name=name, sparse=sparse)
    return representation_pb2.Representation(
        name=name,
        tensor=representation_pb2.Tensor(
            dtype=DTYPE_NUMBERS[value.dtype],
            shape=value.shape,
            data=value.data.tobytes(),
        ),
    )


def failure(message: failure_pb2.Failure) -> types.Failure:
    """Why one thing was not done."""
    return types.Failure(
        reason=REASONS.get(message.reason, enums.Reason.UNKNOWN),
        message=message.message,
        retry_after=message.retry_after_ms / 1000 if message.HasField("retry_after_ms") else None,
    )


def embedding(message: embedding_service_pb2.EmbedResult) -> tensors.Embedding | types.Failure:
    """What became of one input."""
    if message.WhichOneof("outcome") != "embedding":
        return failure(message.failure)
    found = {one.name: representation(one) for one in message.embedding.representations}
    return tensors.Embedding(found, message.embedding.fingerprint)


def context(message: context_pb2.Context) -> tensors.Context:
    """A context that came back."""
    return tensors.Context(
        parts=tuple(map(_part, message.parts)),
        tokens_before=message.tokens_before,
        tokens_after=message.tokens_after,
        handle=message.handle if message.HasField("handle") else None,
        expires=message.expire_time.ToDatetime(UTC) if message.HasField("expire_time") else None,
    )


def _part(message: context_pb2.ContextPart) -> tensors.ContextPart:
    payload = message.WhichOneof("payload")
    visual, cache = message.visual_tokens, message.key_values
    return tensors.ContextPart(
        document_id=message.document_id,
        method=message.method,
        text=message.text if payload == "text" else None,
        visual_tokens=tensors.VisualTokens(
            embeddings=tensor(visual.embeddings),
            positions=tuple(visual.positions),
            grid=(visual.grid_height, visual.grid_width),
            fingerprint=visual.fingerprint,
        )
        if payload == "visual_tokens"
        else None,
        soft_prompt=tensor(message.soft_prompt) if payload == "soft_prompt" else None,
        key_values=tensors.KeyValueCache(cache.manifest, tuple(map(tensor, cache.layers)))
        if payload == "key_values"
        else None,
    )


def event(message: retrieval_service_pb2.SearchResponse) -> types.Event | None:
    """One event of a search, or None where this client does not know the kind."""
    stage = STAGES.get(message.stage, enums.Stage.UNKNOWN)
    match message.WhichOneof("event"):
        case "result":
            return _result(stage, message.result)
        case "skipped":
            skipped = message.skipped
            reason = SKIP_REASONS.get(skipped.reason, enums.SkipReason.UNKNOWN)
            return types.StageSkipped(stage, reason, skipped.message)
        case "summary":
            summary = message.summary
            return types.SearchSummary(
                final_stage=STAGES.get(summary.final_stage, enums.Stage.UNKNOWN)
                if summary.final_stage
                else None,
                total_us=summary.total_us,
                embedding_source=SOURCES.get(
                    summary.embedding_source, enums.EmbeddingSource.UNKNOWN
                ),
                warnings=tuple(map(failure, summary.warnings)),
            )
        case _:
            return None


def hits(message: Iterable[stage_pb2.Hit]) -> tuple[types.Hit, ...]:
    """Hits that came back."""
    return tuple(
        types.Hit(
            hit.document_id,
            hit.score,
            hit.movement,
            document(hit.document) if hit.HasField("document") else None,
            hit.settled,
        )
        for hit in message
    )


def failures(
    message: Iterable[document_pb2.DocumentFailure],
) -> tuple[types.DocumentFailure, ...]:
    """The documents that were left out."""
    return tuple(types.DocumentFailure(one.document_id, failure(one.failure)) for one in message)


def batch_result(
    message: retrieval_service_pb2.BatchSearchResult,
) -> types.StageResult | types.Failure:
    """What became of one query of a batch."""
    match message.WhichOneof("outcome"):
        case "result":
            return _result(STAGES.get(message.stage, enums.Stage.UNKNOWN), message.result)
        case "failure":
            return failure(message.failure)
        case _:
            return types.Failure(enums.Reason.UNAVAILABLE, "no stage has a result")


def ranked(message: rerank_service_pb2.RerankResponse) -> types.Ranked:
    """The caller's documents in order."""
    return types.Ranked(
        hits(message.hits), failures(message.failures), _timing(message.timing), message.shortened
    )


def _timing(message: stage_pb2.StageTiming) -> types.StageTiming:
    return types.StageTiming(
        message.total_us,
        message.encode_us,
        message.index_us,
        message.model_us,
        message.model_calls,
        message.model_tokens,
    )


def _result(stage: enums.Stage, message: stage_pb2.StageResult) -> types.StageResult:
    return types.StageResult(
        stage=stage,
        hits=hits(message.hits),
        method=message.method,
        timing=_timing(message.timing),
        context=context(message.context) if message.HasField("context") else None,
        depth=message.depth,
        shortened=message.shortened,
        message=message.message,
        partial=message.partial,
    )


def progress(message: collection_service_pb2.UpsertDocumentsResponse) -> types.UpsertProgress:
    """How far an upsert has come."""
    return types.UpsertProgress(
        message.upserted,
        message.failed,
        failures(message.failures),
    )


def collection(message: collection_service_pb2.Collection) -> types.Collection:
    """What a collection is."""
    vectors = tuple(
        types.VectorField(
            one.name, KINDS.get(one.kind, enums.VectorKind.UNKNOWN), one.dim, one.fingerprint
        )
        for one in message.vectors
    )
    return types.Collection(message.name, vectors, message.documents)


def server_info(message: server_service_pb2.GetServerInfoResponse) -> types.ServerInfo:
    """What a server is and takes."""
    limits = message.limits
    return types.ServerInfo(
        message.version,
        tuple(message.pipelines),
        types.Limits(
            max_k=limits.max_k,
            max_message_bytes=limits.max_message_bytes,
            max_text_bytes=limits.max_text_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_batch_inputs=limits.max_batch_inputs,
            max_in_flight=limits.max_in_flight,
            max_frames=limits.max_frames,
        ),
    )
