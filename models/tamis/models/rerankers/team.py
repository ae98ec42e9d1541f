"""TEAM aligns the tokens of both sides with each other, and scores how well each is matched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.attention import attention
from tamis.models.blocks.similarity import unit
from tamis.models.ranking.vectors import Vectors, of_vectors
from tamis.models.rerankers import PointwiseReranker
from tamis.models.types import Candidate, Paper, Query

__all__ = ("TEAM",)


@dataclass(frozen=True, kw_only=True)
class TEAM(PointwiseReranker):
    """The mean, over the tokens of both sides, of each one's cosine with what it is aligned with.

    A token is aligned with the mean of the other side's tokens, weighed by its attention to them.

    Attributes:
        query: The queries' token vectors, as `encoder.head`.
        document: The candidates', in the same space.
        temperature: Of the alignment; near 0, each token is aligned with its best match only.
    """

    paper: ClassVar = Paper(
        "Token Embeddings Alignment for Cross-Modal Retrieval",
        2022,
        "https://doi.org/10.1145/3503161.3548107",
    )
    checked: ClassVar = "the formula, token by token; properties: order of tokens, exact matches"
    departs: ClassVar = (
        "written from the paper's abstract: there is neither code nor weights. The tokens are any "
        "encoder's, and nothing is learned"
    )

    query: str
    document: str
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {self.temperature}")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.query, self.document)

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        return of_vectors(query, candidates, self.query, self.document, self._score)

    def _score(self, asked: Vectors, held: list[Vectors]) -> list[float]:
        return [
            (self._matched(asked, own) + self._matched(own, asked)) / 2 for own in map(unit, held)
        ]

    def _matched(self, tokens: Vectors, others: Vectors) -> float:
        """The tokens' mean cosine with what they are aligned with."""
        aligned = attention(tokens, others, self.temperature) @ unit(others)
        return float(np.vecdot(unit(tokens), unit(aligned)).mean())
