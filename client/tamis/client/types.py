"""What callers give and get. Values only: nothing here knows the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from tamis.client.enums import EmbeddingSource, Reason, SkipReason, Stage, VectorKind
from tamis.client.tensors import Context, SparseVector, Tensor


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
    """

    id: str
    text: str | None = None
    image: bytes | None = field(default=None, repr=False)
    metadata: dict[str, Any] = field(default_factory=dict)
    frames: Sequence[bytes] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Hit:
    """One document of an answer.

    Attributes:
        document_id: Its id in the collection.
        score: Higher is better; comparable only within one result.
        movement: How many places it rose (or, below zero, fell) since the stage before.
        document: The document, as far as the search's `view` asks for it, or None.
        settled: Whether its rank can no longer change in this stage. Only in a partial result.
    """

    document_id: str
    score: float
    movement: int = 0
    document: Document | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Where a stage's time went, in microseconds, and what its model was asked.

    Attributes:
        total_us: All of it.
        encode_us: The encoders' part.
        index_us: The index's part.
        model_us: The reranker's or the refiners' part.
        model_calls: Prompts or pairs that the reranker's model was given.
        model_tokens: Tokens that it read for them and wrote.
    """

    total_us: int = 0
    encode_us: int = 0
    index_us: int = 0
    model_us: int = 0
    model_calls: int = 0
    model_tokens: int = 0


@dataclass(frozen=True, slots=True)
class StageResult:
    """A complete and usable ranking: it replaces, not completes, that of the stage before.

    Attributes:
        stage: Which stage made it.
        hits: Best first.
        method: The pipeline's method, such as `hybrid` or `max_sim`.
        timing: Where the time went.
        context: What a model can read. Only of the last stage.
        depth: How many documents the stage looked at.
        shortened: Whether that is fewer than was asked for, or less closely, because time or
            `max_calls` were short.
        message: Why it is shortened, for people.
        partial: Whether the stage goes on, and another result of it follows.
    """

    stage: Stage
    hits: tuple[Hit, ...]
    method: str = ""
    timing: StageTiming = StageTiming()
    context: Context | None = None
    depth: int = 0
    shortened: bool = False
    message: str = ""
    partial: bool = False


@dataclass(frozen=True, slots=True)
class StageSkipped:
    """A stage that was left out. The search still ends well, with the best stage so far.

    Attributes:
        stage: Which stage.
        reason: For programs.
        message: For people.
    """

    stage: Stage
    reason: SkipReason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one thing was not done while the others were.

    Attributes:
        reason: For programs.
        message: For people.
        retry_after: How long to wait before retrying, in seconds; None where that cannot help.
    """

    reason: Reason
    message: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """How a search went. Always its last event.

    Attributes:
        final_stage: The last stage with a result, or None.
        total_us: From the request to this event, in microseconds.
        embedding_source: Where the query's representations came from.
        warnings: What the caller should know, such as a text that was cut.
    """

    final_stage: Stage | None
    total_us: int = 0
    embedding_source: EmbeddingSource = EmbeddingSource.NONE
    warnings: tuple[Failure, ...] = ()


Event = StageResult | StageSkipped | SearchSummary


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """A document that was left out, and why."""

    document_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Ranked:
    """The caller's own documents in order.

    Attributes:
        hits: Best first; every document that could be read is there once.
        failures: The documents that could not.
        timing: Where the time went, and what it cost.
        shortened: Whether the time or `max_calls` ended it: then it is the best order so far.
    """

    hits: tuple[Hit, ...]
    failures: tuple[DocumentFailure, ...] = ()
    timing: StageTiming = StageTiming()
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Refined:
    """The caller's own documents as a context.

    Attributes:
        context: Of the documents that could be read.
        failures: Those that could not.
    """

    context: Context
    failures: tuple[DocumentFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class UpsertProgress:
    """How far an upsert has come.

    Attributes:
        upserted: Documents that are on the server's disk since the upsert began.
        failed: Documents that were left out since then.
        failures: Those that are new in this report.
    """

    upserted: int = 0
    failed: int = 0
    failures: tuple[DocumentFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorField:
    """One kind of representation in a collection.

    Attributes:
        name: As `encoder.head`, such as `minilm.dense`.
        kind: What it looks like.
        dim: The length of one vector; 0 for sparse ones.
        fingerprint: Of the encoder that made it.
    """

    name: str
    kind: VectorKind
    dim: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents.

    Attributes:
        name: From 1 to 64 characters of a-z, A-Z, 0-9, `_` and `-`.
        vectors: The representations that it indexes.
        documents: How many documents it holds.
    """

    name: str
    vectors: tuple[VectorField, ...] = ()
    documents: int = 0


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
        partial_results: Whether a reranker that works in steps shows the order after each of them.
        refine_time_s: Seconds that the refiner may take; it is skipped beyond.
        cache_policy: How the search may use what the server remembers; see `CachePolicy`.
        priority: Who goes first when models are busy; see `Priority`.
        representations: Ready-made ones of the query, by name, used instead of encoding it.
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
    priority: str
    representations: Mapping[str, Tensor | SparseVector]


Input = str | bytes | Path | Query  # a text, a picture, a picture's path, or several of them
Metadata = Sequence[tuple[str, str | bytes]]
