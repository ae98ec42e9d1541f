"""Rerankers order a query's candidates again, with a closer look at both.

One file a method, named after its paper; a frozen dataclass, as in `encoders`. It subclasses the
narrowest of these that fits and writes that one function:

    PointwiseReranker.score    each candidate by itself
    Reranker.rerank            anything else
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.topk import top_k
from tamis.models.method import Method
from tamis.models.retrievers import Plan
from tamis.models.types import Candidate, Query


@dataclass(frozen=True, kw_only=True)
class Reranker(Method):
    """Orders candidates by relevance.

    Attributes:
        reads_images: Whether candidates must come with their decoded images.
    """

    reads_images: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The representations that queries and candidates must come with, as `encoder.head`."""
        return ()

    def plans(self, query: Query, limit: int) -> tuple[Plan, ...]:
        """Searches of the index whose scores, added up, are this method's own for `query`.

        They spare the candidates' representations the way out of the index. Empty where the index
        cannot score: then `rerank` does.
        """
        return ()

    @abstractmethod
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The same candidates, each once, best first, with this method's scores."""


@dataclass(frozen=True, kw_only=True)
class PointwiseReranker(Reranker):
    """Scores each candidate by itself."""

    @abstractmethod
    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        """How relevant each candidate is; higher is better. -inf sends it to the end."""

    @final
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        if not candidates:
            return []
        scores = self.score(query, candidates)
        order = top_k(scores, len(candidates))
        return [replace(candidates[i], score=float(scores[i])) for i in order]
