"""Poly-encoder's search: candidates by each of a query's vectors, then the paper's own score.

The score of a document, a soft maximum of its products with the query's vectors, lies between the
largest product less the logarithm of their number, and the largest product. So each vector's own
nearest documents are the candidates, and they are scored exactly.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.rerankers.poly_encoder import PolyEncoder as Scoring
from tamis.models.retrievers import Nearest, Plan, ReciprocalRanks, Retriever, Scored
from tamis.models.types import Paper, Query

__all__ = ("PolyEncoder",)


@dataclass(frozen=True, kw_only=True)
class PolyEncoder(Retriever):
    """The nearest documents of each of the query's vectors, ordered by the soft maximum.

    Attributes:
        vector: The representation of both sides, as `encoder.head`.
        attention: As the model was trained: ``basic`` or ``sqrt``.
        depth: How many documents each vector gives, at least; never fewer than are asked for.
    """

    paper: ClassVar = Paper(
        "Poly-encoders: Transformer Architectures and Pre-training Strategies for Fast and "
        "Accurate Multi-sentence Scoring",
        2020,
        "https://arxiv.org/abs/1905.01969",
    )
    checked: ClassVar = (
        "the whole collection scored by the formula; the score itself by golden data (see the "
        "reranker)"
    )
    departs: ClassVar = "the paper scores all candidates that it is given, and searches nothing"

    vector: str
    attention: str = "basic"
    depth: int = 100

    def __post_init__(self) -> None:
        Scoring(vector=self.vector, attention=self.attention)
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")

    @property
    def vectors(self) -> tuple[str, ...]:
        return (self.vector,)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.vector,)

    def plan(self, query: Query, limit: int) -> Plan | None:
        codes = query.representations.get(self.vector)
        if not isinstance(codes, np.ndarray) or not len(codes):
            return None
        depth = max(limit, self.depth)
        parts = [Plan(Nearest(self.vector, code[None], exact=True), depth) for code in codes]
        union = Plan(ReciprocalRanks(), depth * len(parts), tuple(parts))
        scorer = Scoring(vector=self.vector, attention=self.attention)
        return Plan(Scored(scorer, query, (self.vector,)), limit, (union,))
