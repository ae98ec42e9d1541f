"""Poly-encoder's score as a second stage: candidates are ordered by a soft maximum.

Nothing is encoded: both sides' vectors are there already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.soft_max import soft_max_product
from tamis.models.rerankers import PointwiseReranker
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PolyEncoder",)

ATTENTIONS = ("basic", "sqrt")


@dataclass(frozen=True, kw_only=True)
class PolyEncoder(PointwiseReranker):
    """The products of a candidate's vector with a query's vectors, each weighed by its softmax.

    A candidate without a vector scores -inf. One with several, such as one a passage, scores as
    the best of them.

    Attributes:
        vector: The representation of both sides, as `encoder.head`.
        attention: As the model was trained: ``basic`` takes the softmax of the products as they
            are, ``sqrt`` of the products divided by the root of the dimension.
    """

    paper: ClassVar = Paper(
        "Poly-encoders: Transformer Architectures and Pre-training Strategies for Fast and "
        "Accurate Multi-sentence Scoring",
        2020,
        "https://arxiv.org/abs/1905.01969",
    )
    checked: ClassVar = "golden data of the paper's formula, in float32 and float64"
    departs: ClassVar = "a candidate with several vectors scores as the best of them"

    vector: str
    attention: str = "basic"

    def __post_init__(self) -> None:
        if self.attention not in ATTENTIONS:
            raise ValueError(f"attention must be {' or '.join(ATTENTIONS)}, not {self.attention!r}")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.vector,)

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        scores = np.full(len(candidates), -np.inf)
        asked = query.representations.get(self.vector)
        if not isinstance(asked, np.ndarray) or not len(asked):
            return scores
        held = [candidate.representations.get(self.vector) for candidate in candidates]
        found = [(i, own) for i, own in enumerate(held) if isinstance(own, np.ndarray) and len(own)]
        if not found:
            return scores
        scale = asked.shape[1] ** -0.5 if self.attention == "sqrt" else 1.0
        each = soft_max_product(asked, np.concatenate([own for _, own in found]), scale=scale)
        owners = np.repeat([i for i, _ in found], [len(own) for _, own in found])
        np.maximum.at(scores, owners, each)
        return scores
