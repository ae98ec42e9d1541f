"""BM25 finds documents by the words that they share with the query, rare words first."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.retrievers import Nearest, Plan, Retriever
from tamis.models.types import Paper, Query, Sparse

__all__ = ("BM25",)


@dataclass(frozen=True, kw_only=True)
class BM25(Retriever):
    """The highest inner products of term weights, over an inverted index.

    Attributes:
        vector: The representation, as `encoder.head`: of the `bm25` encoder, or of any other that
            weighs terms.
    """

    paper: ClassVar = Paper(
        "The Probabilistic Relevance Framework: BM25 and Beyond",
        2009,
        "https://doi.org/10.1561/1500000019",
    )
    checked: ClassVar = "the encoder's own check; here, the shape of the plan"

    vector: str = "bm25.terms"

    @property
    def vectors(self) -> tuple[str, ...]:
        return (self.vector,)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.vector,)

    def plan(self, query: Query, limit: int) -> Plan | None:
        terms = query.representations.get(self.vector)
        if not isinstance(terms, Sparse) or not len(terms.indices):
            return None
        return Plan(Nearest(self.vector, terms), limit)
