"""Between the wire's messages and the caller's values. Pure functions."""

from datetime import UTC
from typing import Any

from tamis.client import enums, metadata, results, tensors, types, words
from tamis.v1 import (
    collection_service_pb2,
    content_pb2,
    context_pb2,
    document_pb2,
    embedding_service_pb2,
    failure_pb2,
    representation_pb2,
    server_service_pb2,
)


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
        ValueError: It has neither content nor representations, or metadata that JSON cannot hold.
    """
    query = types.Query(document.text, document.image, frames=document.frames)
    bare = query.text is None and query.image is None and not query.frames
    return document_pb2.Document(
        id=document.id,
        content=None if bare and document.representations else content(query),
        metadata=metadata.struct(document.metadata, document.id) if document.metadata else None,
        representations=[representation_message(*one) for one in document.representations.items()],
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
        words.DTYPES.get(message.dtype, "unknown"), tuple(message.shape), memoryview(message.data)
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
            dtype=words.DTYPE_NUMBERS[value.dtype],
            shape=value.shape,
            data=value.data.tobytes(),
        ),
    )


def failure(message: failure_pb2.Failure) -> results.Failure:
    """Why one thing was not done."""
    return results.Failure(
        reason=words.REASONS.get(message.reason, enums.Reason.UNKNOWN),
        message=message.message,
        retry_after=message.retry_after_ms / 1000 if message.HasField("retry_after_ms") else None,
    )


def embedding(message: embedding_service_pb2.EmbedResult) -> tensors.Embedding | results.Failure:
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
        key_values=tensors.KeyValueCache(tuple(cache.document_ids), cache.artefact)
        if payload == "key_values"
        else None,
    )


def weighting_message(how: types.TermWeighting) -> representation_pb2.TermWeighting:
    """A weighting as it is sent.

    Raises:
        ValueError: Its variant is unknown.
    """
    variant = representation_pb2.TERM_VARIANT_UNSPECIFIED
    if how.variant is not None:
        wrapper = representation_pb2.TermVariant
        variant = words.number_of(enums.TermVariant, wrapper, how.variant)
    return representation_pb2.TermWeighting(
        variant=variant, k1=how.k1, b=how.b, delta=how.delta, average_length=how.average_length
    )


def _weighting(message: representation_pb2.TermWeighting) -> types.TermWeighting:
    return types.TermWeighting(
        variant=words.VARIANTS.get(message.variant),
        k1=message.k1,
        b=message.b,
        delta=message.delta,
        average_length=message.average_length,
    )


def collection(message: collection_service_pb2.Collection) -> types.Collection:
    """What a collection is."""
    vectors = tuple(
        types.VectorField(
            one.name,
            words.KINDS.get(one.kind, enums.VectorKind.UNKNOWN),
            one.dim,
            one.fingerprint,
            _weighting(one.weighting) if one.HasField("weighting") else None,
        )
        for one in message.vectors
    )
    return types.Collection(
        message.name,
        vectors,
        message.documents,
        aliases=tuple(message.aliases),
        indexes={
            name: words.FIELD_TYPES.get(kind, enums.FieldType.UNKNOWN)
            for name, kind in message.indexes.items()
        },
        damage=message.damage,
    )


def snapshot(message: collection_service_pb2.Snapshot) -> types.Snapshot:
    """A collection in a file."""
    return types.Snapshot(
        message.name, message.collection, message.created, message.documents, message.size_bytes
    )


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
