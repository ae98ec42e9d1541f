"""CSIC weighs tokens by their importance in their modality and to the other one, made to agree."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.attention import attention
from tamis.models.blocks.similarity import cosine, unit
from tamis.models.ranking.vectors import Vectors
from tamis.models.rerankers import VectorReranker
from tamis.models.types import Paper

__all__ = ("CSIC",)


@dataclass(frozen=True, kw_only=True)
class CSIC(VectorReranker):
    """The cosine of both sides' means, weighed by the tokens' calibrated importance.

    A token is important in its own modality as far as its fellows attend to it, and to the other
    one as far as that one's tokens do; the two distributions calibrate each other by their
    geometric mean.

    Attributes:
        query: The queries' token vectors, as `encoder.head`.
        document: The candidates', in the same space.
        temperature: Of the attention.
    """

    paper: ClassVar = Paper(
        "Image-Text Retrieval With Cross-Modal Semantic Importance Consistency",
        2022,
        "https://ieeexplore.ieee.org/document/9940913",
    )
    checked: ClassVar = "the formula, token by token; properties: order of tokens, equal sets"
    departs: ClassVar = (
        "written from the paper's abstract: there is neither code nor weights. The tokens are any "
        "encoder's, nothing is learned, and the geometric mean is our reading of calibration"
    )

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {self.temperature}")

    def score_vectors(self, asked: Vectors, held: list[Vectors]) -> list[float]:
        return [
            float(cosine(self._mean(asked, own)[None], self._mean(own, asked)[None])[0, 0])
            for own in held
        ]

    def _mean(self, tokens: Vectors, others: Vectors) -> Float[np.ndarray, " dim"]:
        """The tokens' mean, weighed by their importance given the other side."""
        intra = attention(tokens, tokens, self.temperature).mean(axis=0)
        inter = attention(others, tokens, self.temperature).mean(axis=0)
        importance = np.sqrt(intra * inter)
        return importance / importance.sum() @ unit(tokens)
