"""Dense retrieval finds the documents whose one embedding is closest to the query's.

A query of several parts, a text and an image, becomes one by UniIR's score-level fusion: where all
are in one space, the sum of the parts' embeddings scores a document by the sum of their scores.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.blocks.similarity import unit
from tamis.models.retrievers import Nearest, Plan, VectorRetriever
from tamis.models.types import Paper, Query

__all__ = ("Dense",)


@dataclass(frozen=True, kw_only=True)
class Dense(VectorRetriever):
    """The nearest neighbours of one embedding.

    Attributes:
        vector: The index vector that is searched, as `encoder.head`.
        query: The query representations to use, as `encoder.head`: those that a query has are
            summed, so all must be in the space of `vector`. By default `vector` itself.
    """

    paper: ClassVar = Paper(
        "UniIR: Training and Benchmarking Universal Multimodal Information Retrievers",
        2023,
        "https://arxiv.org/abs/2311.17136",
    )
    checked: ClassVar = "a property: the fused query scores as the sum of its parts"
    departs: ClassVar = (
        "the parts are scaled to unit length before they are summed, so that no tower outweighs "
        "the other"
    )

    def plan(self, query: Query, limit: int) -> Plan | None:
        vectors = [unit(part) for part in self.asked(query)]
        if not vectors:
            return None
        return Plan(Nearest(self.vector, unit(np.sum(vectors, axis=0))), limit)
