"""ColBERT's late interaction over a whole collection, exactly.

Every document is scored, so nothing is missed, and the time grows with the collection: for small
ones, and for measuring what an approximate search misses.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.retrievers import Nearest, Plan, Retriever
from tamis.models.types import Paper, Query

__all__ = ("MaxSim",)


@dataclass(frozen=True, kw_only=True)
class MaxSim(Retriever):
    """The sum, over the query's vectors, of the best match among a document's.

    Attributes:
        vector: The index vector that is searched, one vector a token, as `encoder.head`.
        query: The query representations to use, as `encoder.head`: the vectors of those that a
            query has are put together, so all must be in the space of `vector`. By default
            `vector` itself.
    """

    paper: ClassVar = Paper(
        "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over "
        "BERT",
        2020,
        "https://arxiv.org/abs/2004.12832",
    )
    checked: ClassVar = "the shape of the plan: the index engine scores"

    vector: str
    query: tuple[str, ...] = ()

    @property
    def vectors(self) -> tuple[str, ...]:
        return (self.vector,)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.query or (self.vector,)

    def plan(self, query: Query, limit: int) -> Plan | None:
        parts = [
            query.representations[name] for name in self.needs if name in query.representations
        ]
        tokens = [part for part in parts if isinstance(part, np.ndarray) and len(part)]
        if not tokens:
            return None
        return Plan(Nearest(self.vector, np.concatenate(tokens), exact=True), limit)
