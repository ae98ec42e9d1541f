"""ColBERT's late interaction as a second stage: candidates are ordered by their token vectors.

Nothing is encoded: both sides' vectors are there already, so a rerank is one matrix product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import max_sim
from tamis.models.rerankers import PointwiseReranker
from tamis.models.types import Candidate, Paper, Query, Representation

__all__ = ("MaxSim",)


@dataclass(frozen=True, kw_only=True)
class MaxSim(PointwiseReranker):
    """The sum, over the query's vectors, of the best match among a candidate's.

    A candidate without any vector scores -inf: such ones follow the others, in their old order.

    Attributes:
        vectors: The multi-vector representations, as `encoder.head`, all of one space. On either
            side the vectors of those that are there are put together.
    """

    paper: ClassVar = Paper(
        "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over "
        "BERT",
        2020,
        "https://arxiv.org/abs/2004.12832",
    )
    checked: ClassVar = "the formula, token by token; golden data of colpali-engine"

    vectors: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.vectors:
            raise ValueError("vectors must name at least one representation")

    @property
    def needs(self) -> tuple[str, ...]:
        return self.vectors

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        asked = self._tokens(query.representations)
        if not len(asked):
            return np.full(len(candidates), -np.inf, dtype=np.float32)
        return max_sim(asked, [self._tokens(c.representations) for c in candidates])

    def _tokens(self, given: Mapping[str, Representation]) -> Float[np.ndarray, "tokens dim"]:
        parts = [given[name] for name in self.vectors if name in given]
        tokens = [part for part in parts if isinstance(part, np.ndarray) and len(part)]
        return np.concatenate(tokens) if tokens else np.empty((0, 0), dtype=np.float32)
