"""What callers give, and what a server says of itself. Values only: nothing here knows the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from tamis.client.enums import FieldType, VectorKind
from tamis.client.tensors import SparseVector, Tensor


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for: a text, an image, a video, or several of them.

    Attributes:
        text: Words, or None.
        image: The bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file, or the path of one, or None.
        instruction: What kind of answer is wanted, for encoders trained with instructions.
        frames: The bytes of a picture's file for each frame of a video, in their order; choose them
            evenly over the video. A server takes at most its `max_frames`.
        task: One that the server knows an instruction for, such as ``mbeir/cirr_task7``, or None.
    """

    text: str | None = None
    image: bytes | Path | None = None
    instruction: str | None = None
    frames: Sequence[bytes] = field(default=(), repr=False)
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One thing in a collection, of any modality.

    Attributes:
        id: Chosen by the caller, unique in its collection, from 1 to 512 bytes.
        text: Words, or None.
        image: The bytes of a picture's file, or None.
        metadata: The caller's own fields, for filters and display: whatever JSON can hold.
        frames: Of a video, as a query's. They are encoded, not kept: no answer has them.
        representations: Ready-made ones, by name, indexed instead of encoding the content; with
            them it may have no content. No answer has them.
    """

    id: str
    text: str | None = None
    image: bytes | None = field(default=None, repr=False)
    metadata: dict[str, Any] = field(default_factory=dict)
    frames: Sequence[bytes] = field(default=(), repr=False)
    representations: Mapping[str, Tensor | SparseVector] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TermWeighting:
    """How a collection weighs counts of terms. None leaves it to the server's settings.

    Attributes:
        variant: The formula; see `TermVariant`.
        k1: How soon a repeated term stops adding, from 0.
        b: How far long documents are marked down, from 0 to 1.
        delta: What BM25L and BM25+ grant every term that occurs.
        average_length: Of the documents, in terms.
    """

    variant: str | None = None
    k1: float | None = None
    b: float | None = None
    delta: float | None = None
    average_length: float | None = None


@dataclass(frozen=True, slots=True)
class VectorField:
    """One kind of representation in a collection.

    Attributes:
        name: As `encoder.head`, such as `minilm.dense`.
        kind: What it looks like.
        dim: The length of one vector; 0 for sparse ones.
        fingerprint: Of the encoder that made it.
        weighting: How the collection weighs it, where it is counts of terms.
    """

    name: str
    kind: VectorKind
    dim: int
    fingerprint: str
    weighting: TermWeighting | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents.

    Attributes:
        name: From 1 to 64 characters of a-z, A-Z, 0-9, `_` and `-`.
        vectors: The representations that it indexes.
        documents: How many documents it holds.
        aliases: Other names that stand for it.
        indexes: The metadata fields that have an index, and what they hold.
        damage: Why it cannot be read, where its files are damaged; nothing else is known then.
    """

    name: str
    vectors: tuple[VectorField, ...] = ()
    documents: int = 0
    aliases: tuple[str, ...] = ()
    indexes: Mapping[str, FieldType] = field(default_factory=dict)
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A collection as it was, in one file on the server.

    Attributes:
        name: Of its file.
        collection: What it is of.
        created: When it was made, as in `2026-03-01T12:00:00Z`.
        documents: How many it holds.
        size_bytes: Of its file.
    """

    name: str
    collection: str
    created: str
    documents: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes at most: hits, bytes, pixels, inputs of one message, searches at once."""

    max_k: int
    max_message_bytes: int
    max_text_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    max_batch_inputs: int
    max_in_flight: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is and takes.

    Attributes:
        version: Of tamis, such as `0.1.0`.
        pipelines: Names that a search may choose from.
        limits: What it takes.
    """

    version: str
    pipelines: tuple[str, ...]
    limits: Limits


class CallOptions(TypedDict, total=False):
    """What every call takes.

    Attributes:
        timeout: Seconds that the call may take; `math.inf` for as long as it needs.
        request_id: Goes to the server's log, at most 64 bytes; chosen at random where it is unset.
        traceparent: A W3C trace context, so that the server's spans join the caller's.
    """

    timeout: float
    request_id: str
    traceparent: str


class SearchOptions(CallOptions, total=False):
    """What a search changes in the pipeline's stages.

    Attributes:
        stop_after: The last stage to run.
        retrieve_depth: Candidates that the retriever looks for, from `k` to 10,000.
        rerank_depth: Candidates that the reranker reads, from 0 (which skips it) to 1,000.
        refine_depth: Documents that become context, from 0 (which skips it) to 100.
        refine_budget: Visual tokens kept of each image, from 1.
        rerank_time_s: Seconds that the reranker may take; beyond, its best order so far counts.
        max_calls: Prompts that the reranker's model may be given; its best order so far counts.
        partial_results: Whether a stage that works in steps shows what it has after each of them: a
            retriever of several what the first of them found, a reranker its order so far.
        refine_time_s: Seconds that the refiner may take; it is skipped beyond.
        cache_policy: How the search may use what the server remembers; see `CachePolicy`.
        context_delivery: How the context comes back; see `ContextDelivery`.
        priority: Who goes first when models are busy; see `Priority`.
        representations: Ready-made ones of the query, by name, used instead of encoding it.
        also: Other wordings of the query, at most 16: each is searched, and what they find is
            fused. A picture among them is its bytes, not a path.
        modalities: Only documents that are made of one of these; see `Modality`.
    """

    stop_after: str
    retrieve_depth: int
    rerank_depth: int
    refine_depth: int
    refine_budget: int
    rerank_time_s: float
    max_calls: int
    partial_results: bool
    refine_time_s: float
    cache_policy: str
    context_delivery: str
    priority: str
    representations: Mapping[str, Tensor | SparseVector]
    also: "Sequence[Input]"
    modalities: Sequence[str]


Input = str | bytes | Path | Query  # a text, a picture, a picture's path, or several of them
Metadata = Sequence[tuple[str, str | bytes]]
