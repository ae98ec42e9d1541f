"""The client's words for the wire's enums, and back."""

from enum import StrEnum
from typing import Any, TypeVar

from tamis.client import enums
from tamis.v1 import (
    collection_service_pb2,
    failure_pb2,
    representation_pb2,
    retrieval_service_pb2,
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
FIELD_TYPES = _words(enums.FieldType, collection_service_pb2.FieldType, enums.FieldType.UNKNOWN)
OPTIMIZE_STEPS = _words(
    enums.OptimizeStep, collection_service_pb2.OptimizeStep, enums.OptimizeStep.UNKNOWN
)
VARIANTS = _words(enums.TermVariant, representation_pb2.TermVariant, enums.TermVariant.LUCENE)
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
