"""ColBERT's late interaction as a second stage: candidates are ordered by their token vectors.

Nothing is encoded: both sides' vectors are there already. Where the index can compare them itself,
it does, and no vector leaves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import max_sim
from tamis.models.rerankers import PointwiseReranker
from tamis.models.retrievers import Nearest, Plan
from tamis.models.types import Candidate, Paper, Query

__all__ = ("MaxSim",)


@dataclass(frozen=True, kw_only=True)
class MaxSim(PointwiseReranker):
    """The sum, over the query's vectors, of the best match among a candidate's.

    Each representation is compared with its own kind: a query's words with a document's words, its
    image's patches with a document's patches; the sums are added. A candidate without any of them
    scores -inf: such ones follow the others, in their old order.

    Attributes:
        vectors: The multi-vector representations, as `encoder.head`, that both sides have.
    """

    paper: ClassVar = Paper(
        "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over "
        "BERT",
        2020,
        "https://arxiv.org/abs/2004.12832",
    )
    checked: ClassVar = "the formula, token by token; golden data of colpali-engine"
    departs: ClassVar = (
        "of several representations each is compared with its own kind, and their sums are added"
    )

    vectors: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.vectors:
            raise ValueError("vectors must name at least one representation")

    @property
    def needs(self) -> tuple[str, ...]:
        return self.vectors

    def plans(self, query: Query, limit: int) -> tuple[Plan, ...]:
        return tuple(
            Plan(Nearest(name, asked, exact=True), limit)
            for name in self.vectors
            if isinstance(asked := query.representations.get(name), np.ndarray) and len(asked)
        )

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        scores = np.full(len(candidates), -np.inf, dtype=np.float32)
        for name in self.vectors:
            asked = query.representations.get(name)
            if not isinstance(asked, np.ndarray) or not len(asked):
                continue
            of_one = max_sim(asked, [_vectors(c, name, asked.shape[1]) for c in candidates])
            scores = np.where(
                np.isneginf(of_one), scores, of_one + np.where(np.isneginf(scores), 0, scores)
            )
        return scores


def _vectors(candidate: Candidate, name: str, dim: int) -> Float[np.ndarray, "tokens dim"]:
    found = candidate.representations.get(name)
    return found if isinstance(found, np.ndarray) else np.empty((0, dim), dtype=np.float32)
