"""TEAM aligns each word of a text with what an image says about it, and scores the matches."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.ranking.vectors import Vectors
from tamis.models.rerankers import VectorReranker
from tamis.models.runtimes.pair_scorer import PairScorer
from tamis.models.types import Paper

__all__ = ("TEAM",)


@dataclass(frozen=True, kw_only=True)
class TEAM(VectorReranker):
    """The mean, over the words, of each one's cosine with what the last block found for it.

    Attributes:
        model: The alignment blocks, as `tamis export --method team` makes them.
        query: The queries' token states, as `encoder.head`.
        document: The candidates'.
        query_is_image: Whether images are searched with, for texts.
    """

    paper: ClassVar = Paper(
        "Token Embeddings Alignment for Cross-Modal Retrieval",
        2022,
        "https://doi.org/10.1145/3503161.3548107",
    )
    checked: ClassVar = "the authors' blocks, written again in numpy, on random weights"
    departs: ClassVar = "texts have no padding; the first stage's score is not added"

    model: PairScorer
    query_is_image: bool = False

    def score_vectors(self, asked: Vectors, held: list[Vectors]) -> Float[np.ndarray, " documents"]:
        return self.model.scores(asked, held, query_second=self.query_is_image)
