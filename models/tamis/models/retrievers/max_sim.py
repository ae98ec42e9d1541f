"""ColBERT's late interaction over a whole collection, exactly.

Every document is scored, so nothing is missed, and the time grows with the collection: for small
ones, and for measuring what an approximate search misses.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.retrievers import Nearest, Plan, VectorRetriever
from tamis.models.types import Paper, Query

__all__ = ("MaxSim",)


@dataclass(frozen=True, kw_only=True)
class MaxSim(VectorRetriever):
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

    def plan(self, query: Query, limit: int) -> Plan | None:
        tokens = self.asked(query)
        if not tokens:
            return None
        return Plan(Nearest(self.vector, np.concatenate(tokens), exact=True), limit)
