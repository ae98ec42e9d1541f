"""Between the messages of `tamis.v1` and the values that the pipeline works on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import json_format, timestamp_pb2
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.models.types import Kind, Representation, Sparse, TermWeighting, VisualTokens
from tamis.server.search import Context, ContextPart
from tamis.v1 import context_pb2, document_pb2, representation_pb2

_pb = representation_pb2
DTYPES: dict[representation_pb2.DataType.ValueType, np.dtype[Any]] = {
    _pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    _pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    _pb.DATA_TYPE_INT8: np.dtype("i1"),
    _pb.DATA_TYPE_UINT8: np.dtype("u1"),
    _pb.DATA_TYPE_INT32: np.dtype("<i4"),
    _pb.DATA_TYPE_INT64: np.dtype("<i8"),
}
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
KINDS: dict[Kind, representation_pb2.VectorKind.ValueType] = {
    Kind.DENSE: _pb.VECTOR_KIND_DENSE,
    Kind.SPARSE: _pb.VECTOR_KIND_SPARSE,
    Kind.MULTI: _pb.VECTOR_KIND_MULTI,
}
MODALITIES: dict[document_pb2.DocumentModality.ValueType, str] = {
    document_pb2.DOCUMENT_MODALITY_TEXT: "text",
    document_pb2.DOCUMENT_MODALITY_IMAGE: "image",
    document_pb2.DOCUMENT_MODALITY_IMAGE_TEXT: "image,text",
    document_pb2.DOCUMENT_MODALITY_VIDEO: "video",
}
MAX_AXES = 4
# What a filter takes at most. The index looks a set's texts up together: 10,000 of them cost a
# retriever over 20,000 documents 40 to 120 ms. Conditions it tries one by one on each document.
MAX_SET = 10_000
MAX_CONDITIONS = 1_000


def tensor(array: np.ndarray) -> representation_pb2.Tensor:
    """The array as a message: one copy, the one into the message."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return _pb.Tensor(dtype=_NUMBERS[little.dtype], shape=little.shape, data=little.tobytes())


def array(message: representation_pb2.Tensor, *, where: str) -> np.ndarray:
    """The message as an array that shares its bytes.

    Raises:
        InputError: The type is not one that we read, or the bytes do not fill the shape.
    """
    if message.dtype not in DTYPES:
        name = _pb.DataType.Name(message.dtype) if message.dtype in _pb.DataType.values() else "?"
        raise InputError(f"{where}.dtype: {name} is not one that this server reads")
    shape, dtype = tuple(message.shape), DTYPES[message.dtype]
    if len(shape) > MAX_AXES or any(length < 0 for length in shape):
        raise InputError(f"{where}.shape: {list(shape)}; at most {MAX_AXES} axes, none below 0")
    expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(message.data) != expected:
        raise InputError(f"{where}.data: {len(message.data)} bytes; {list(shape)} takes {expected}")
    return np.frombuffer(message.data, dtype).reshape(shape)


def representation(name: str, value: Representation) -> representation_pb2.Representation:
    """A representation as a message."""
    if isinstance(value, Sparse):
        sparse = _pb.SparseVector(indices=value.indices.tolist(), values=value.values.tolist())
        return _pb.Representation(name=name, sparse=sparse)
    return _pb.Representation(name=name, tensor=tensor(value))


def representations(
    messages: Iterable[representation_pb2.Representation],
) -> dict[str, Representation]:
    """Ready-made representations that a caller brings, by name.

    Raises:
        InputError: One of them is not a vector, vectors or weights of finite numbers.
    """
    return {message.name: _representation(message) for message in messages}


def fingerprints(
    messages: Iterable[representation_pb2.Representation],
) -> dict[str, str]:
    """Those of the representations that a caller says the fingerprint of, by name."""
    return {message.name: message.fingerprint for message in messages if message.fingerprint}


def weighting(message: representation_pb2.TermWeighting) -> dict[str, Any]:
    """What a message sets of a term weighting.

    Raises:
        InputError: Its variant is unknown.
    """
    if message.variant not in _pb.TermVariant.values():
        raise InputError(f"weightings: variant {message.variant} is not one that this server knows")
    name = _pb.TermVariant.Name(message.variant).removeprefix("TERM_VARIANT_").lower()
    given: dict[str, Any] = {
        field.name: value for field, value in message.ListFields() if field.name != "variant"
    }
    return given | ({"variant": name} if message.variant else {})


def weighting_message(how: TermWeighting) -> representation_pb2.TermWeighting:
    """A term weighting as a message."""
    return _pb.TermWeighting(
        variant=_pb.TermVariant.Value(f"TERM_VARIANT_{how.variant.upper()}"),
        k1=how.k1,
        b=how.b,
        delta=how.delta,
        average_length=how.average_length,
    )


def _representation(message: representation_pb2.Representation) -> Representation:
    where = f"representations[{message.name!r}]"
    if message.WhichOneof("value") == "sparse":
        indices = np.array(message.sparse.indices, dtype=np.int64)
        values = np.array(message.sparse.values, dtype=np.float32)
        if len(indices) != len(values) or len(np.unique(indices)) != len(indices):
            raise InputError(f"{where}.sparse: needs as many values as distinct indices")
        order = np.argsort(indices)
        made: Representation = Sparse(indices[order], values[order])
        numbers = values
    elif message.WhichOneof("value") == "tensor":
        raw = array(message.tensor, where=f"{where}.tensor")
        if raw.dtype.kind != "f" or raw.ndim not in (1, 2) or raw.size == 0:
            raise InputError(f"{where}.tensor: needs one or two axes of floats, not {raw.shape}")
        made = numbers = raw.astype(np.float32, copy=False)
    else:
        raise InputError(f"{where}: has neither a tensor nor a sparse vector")
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: has numbers that are not finite")
    return made


def made_of(
    modalities: Sequence[document_pb2.DocumentModality.ValueType],
) -> models.Filter | None:
    """Documents that are made of one of these; None where none are named.

    Raises:
        InputError: One of them is unknown.
    """
    if unknown := [one for one in modalities if one not in MODALITIES]:
        raise InputError(f"modalities: {unknown[0]} is not one that this server knows")
    if not modalities:
        return None
    words = [MODALITIES[one] for one in modalities]
    match = models.MatchAny(any=words)
    return models.Filter(must=[models.FieldCondition(key="modality", match=match)])


def all_of(filters: Sequence[models.Filter]) -> models.Filter | None:
    """What passes every one of these; None where there are none."""
    return models.Filter(must=[*filters]) if len(filters) > 1 else next(iter(filters), None)


def where_clause(message: document_pb2.Filter) -> models.Filter | None:
    """The filter in the store's words; None where it lets everything through.

    Raises:
        InputError: A condition names no field or has no test, or there are too many of them.
    """
    count = len(message.must) + len(message.must_not) + len(message.should)
    if count > MAX_CONDITIONS:
        raise InputError(f"filter: {count} conditions; at most {MAX_CONDITIONS}")
    parts: dict[str, Any] = {
        name: [_condition(condition, f"filter.{name}[{i}]") for i, condition in enumerate(group)]
        for name, group in (
            ("must", message.must), ("must_not", message.must_not), ("should", message.should),
        )
        if group
    }  # fmt: skip
    return models.Filter(**parts) if parts else None


def _condition(message: document_pb2.Condition, where: str) -> models.Condition:
    if not message.field:
        raise InputError(f"{where}.field: must be set")
    key, test = f"metadata.{message.field}", message.WhichOneof("test")
    match test:
        case "equals_text" | "equals_integer" | "equals_bool":
            value = getattr(message, test)
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case "any_of":
            values = list(message.any_of.values)
            if not 1 <= len(values) <= MAX_SET:
                raise InputError(f"{where}.any_of: {len(values)} values; from 1 to {MAX_SET}")
            return models.FieldCondition(key=key, match=models.MatchAny(any=values))
        case "range":
            bounds = {
                name: getattr(message.range, name)
                for name in ("gt", "gte", "lt", "lte")
                if message.range.HasField(name)
            }
            if not bounds:
                raise InputError(f"{where}.range: needs at least one bound")
            return models.FieldCondition(key=key, range=models.Range(**bounds))
        case "exists":
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
            return models.Filter(must_not=[empty]) if message.exists else empty
        case _:
            raise InputError(f"{where}: has no test")


def document(
    payload: Mapping[str, Any],
    view: document_pb2.DocumentView.ValueType,
    image: bytes | None = None,
) -> document_pb2.Document:
    """What the store holds of a document, as far as the view shows it."""
    message = document_pb2.Document(id=payload["id"])
    if view == document_pb2.DOCUMENT_VIEW_ID:
        return message
    if payload.get("text") is not None:
        message.content.text = payload["text"]
    if image is not None:
        message.content.image.data = image
    if payload.get("metadata"):
        json_format.ParseDict(payload["metadata"], message.metadata)
    return message


def context(found: Context) -> context_pb2.Context:
    """A context as a message."""
    kept = bool(found.handle)
    return context_pb2.Context(
        parts=map(_context_part, found.parts),
        tokens_before=found.tokens_before,
        tokens_after=found.tokens_after,
        handle=found.handle if kept else None,
        expire_time=timestamp_pb2.Timestamp(seconds=math.floor(found.expires)) if kept else None,
    )


def _context_part(part: ContextPart) -> context_pb2.ContextPart:
    if part.key_values is not None:
        cache = context_pb2.KeyValueCache(document_ids=part.document_ids, artefact=part.key_values)
        return context_pb2.ContextPart(method=part.method, key_values=cache)
    message = context_pb2.ContextPart(document_id=part.document_ids[0], method=part.method)
    if part.visual is not None:
        message.visual_tokens.CopyFrom(visual_tokens(part.visual, part.fingerprint))
    else:
        message.text = part.text or ""
    return message


def visual_tokens(tokens: VisualTokens, fingerprint: str) -> context_pb2.VisualTokens:
    """Visual tokens as a message."""
    return context_pb2.VisualTokens(
        embeddings=tensor(tokens.embeddings.astype(np.float32, copy=False)),
        positions=tokens.positions.tolist(),
        grid_height=tokens.grid[0],
        grid_width=tokens.grid[1],
        fingerprint=fingerprint,
    )
