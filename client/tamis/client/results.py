"""What callers get for a search, a ranking, a context or an upsert. Values only."""

from dataclasses import dataclass

from tamis.client.enums import EmbeddingSource, Reason, SkipReason, Stage
from tamis.client.tensors import Context
from tamis.client.types import Document


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
        warnings: What the caller should know, such as why the context was not kept.
    """

    context: Context
    failures: tuple[DocumentFailure, ...] = ()
    warnings: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class OptimizeProgress:
    """How far it has come to make a collection's late interaction fast.

    Attributes:
        vector: The field, such as `minilm.tokens`.
        step: What is being done; see `OptimizeStep`.
        done: Documents, or centroids of `OptimizeStep.TRAIN`, that it is done for.
        total: How many there are in all, as far as is known.
    """

    vector: str
    step: str
    done: int
    total: int


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
