"""The values that a search is made of, on its way through the pipeline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from qdrant_client import models

from tamis.models.errors import TamisError
from tamis.models.types import Candidate, Query, Representation, VisualTokens
from tamis.server.cache.embeddings import Policy, Source
from tamis.server.content import RawContent
from tamis.v1 import stage_pb2


class Delivery(Enum):
    """How a context comes back."""

    INLINE = auto()
    HANDLE = auto()
    BOTH = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What a request changes in the pipeline's stages. None leaves it as the pipeline has it."""

    stop_after: stage_pb2.Stage.ValueType | None = None
    retrieve_depth: int | None = None
    rerank_depth: int | None = None
    refine_depth: int | None = None
    refine_budget: int | None = None
    rerank_time_s: float | None = None
    refine_time_s: float | None = None
    policy: Policy = Policy.DEFAULT
    bulk: bool = False
    max_calls: int | None = None
    partial_results: bool = False
    delivery: Delivery = Delivery.INLINE


@dataclass(frozen=True, slots=True)
class ContextPart:
    """What a refiner left of a document, or of several that were read together.

    Attributes:
        document_ids: Which.
        method: The refiner.
        text: A text; this or one of the next two.
        visual: Visual tokens.
        key_values: A key-value cache, as an artefact's bytes.
        fingerprint: Of the model that made the visual tokens or the cache.
    """

    document_ids: tuple[str, ...]
    method: str
    text: str | None = None
    visual: VisualTokens | None = None
    key_values: bytes | None = None
    fingerprint: str = ""

    @property
    def nbytes(self) -> int:
        """Its bytes, but for what describes them."""
        if self.visual is not None:
            return 4 * self.visual.embeddings.size
        return len(self.key_values or (self.text or "").encode())


@dataclass(frozen=True, slots=True)
class Context:
    """What a model should read. Sizes are words of texts and tokens of images, added up.

    Attributes:
        handle: Under which it is kept; empty where it is not.
        expires: Until when, in seconds since 1970.
    """

    parts: tuple[ContextPart, ...] = ()
    tokens_before: int = 0
    tokens_after: int = 0
    handle: str = ""
    expires: float = 0.0

    @classmethod
    def joined(cls, contexts: Sequence["Context"]) -> "Context":
        """Several contexts as one, in their order."""
        return cls(
            parts=tuple(part for context in contexts for part in context.parts),
            tokens_before=sum(context.tokens_before for context in contexts),
            tokens_after=sum(context.tokens_after for context in contexts),
        )


@dataclass(slots=True)
class Clock:
    """A stage's time and cost.

    Attributes:
        deadline: When it must end, on the event loop's clock.
        encode_s: Where the time went, in seconds; so too the next two.
        calls: Prompts or pairs that a model was given, and the tokens of them.
        cut_off: Why it stopped before its end; empty where it did not.
    """

    deadline: float = math.inf
    encode_s: float = 0.0
    index_s: float = 0.0
    model_s: float = 0.0
    calls: int = 0
    tokens: int = 0
    cut_off: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One query on its way. A stage takes one and returns another; it never changes its argument.

    Attributes:
        collection: What is searched.
        content: The query as it arrived, or None where only representations came.
        k: Hits that each stage returns, at most.
        given: Ready-made representations of the query, by name.
        given_fingerprints: Those that the caller says these are of, by name.
        others: Other wordings of the query, which are searched beside it.
        where: Which documents may be found.
        options: What the request changes.
        query: The query with its representations, once it is encoded.
        candidates: The ranking so far, best first.
        payloads: What the store holds of each candidate, by document id.
        context: What the refiner made.
        source: Where the query's representations came from.
        warnings: What the caller should know.
        clock: The present stage's time and cost.
        report: Takes a result of the present stage that is not its last; None where nobody wants
            it.
    """

    collection: str
    content: RawContent | None
    k: int
    given: Mapping[str, Representation] = field(default_factory=dict)
    given_fingerprints: Mapping[str, str] = field(default_factory=dict)
    others: tuple[RawContent, ...] = ()
    where: models.Filter | None = None
    options: SearchOptions = SearchOptions()
    query: Query | None = None
    candidates: Sequence[Candidate] = ()
    payloads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    context: Context | None = None
    source: Source | None = None
    warnings: tuple[TamisError, ...] = ()
    clock: Clock = field(default_factory=Clock)
    report: "Report | None" = None


class Report(Protocol):
    """Takes results of a stage that goes on."""

    def __call__(self, search: Search, settled: range, method: str = "") -> None:
        """A result on the way.

        Args:
            search: What there is so far.
            settled: The ranks that can no longer change.
            method: What made it, where that is not the stage's own method.
        """
        ...
