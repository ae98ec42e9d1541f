"""PLAID finds late interaction's candidates by the centroids of their token vectors.

A document is on the lists of its tokens' centroids. The query's tokens say which lists to read and
what being on each of them is worth; the best documents by that are scored exactly. Where the
collection has no centroids yet, all of it is.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.retrievers import NearCentroids, Nearest, Plan, VectorRetriever
from tamis.models.types import Paper, Query

__all__ = ("PLAID",)


@dataclass(frozen=True, kw_only=True)
class PLAID(VectorRetriever):
    """MaxSim over the documents whose centroids promise most.

    Attributes:
        vector: The index vector that is searched, one vector a token, as `encoder.head`.
        query: The query representations to use, as `encoder.head`: the vectors of those that a
            query has are put together, so all must be in the space of `vector`. By default
            `vector` itself.
        nprobe: How many centroids each of the query's vectors reads the lists of.
        candidates: Documents that are scored exactly, at least; never fewer than are asked for.
    """

    paper: ClassVar = Paper(
        "PLAID: An Efficient Engine for Late Interaction Retrieval",
        2022,
        "https://arxiv.org/abs/2205.09707",
    )
    checked: ClassVar = "exact MaxSim finds the same documents, on clustered data and on real ones"
    departs: ClassVar = (
        "the lists are a sparse vector of the index engine, scored in one pass, where the paper "
        "prunes in three; a list is worth its similarity less nine tenths of the last probed "
        "one's; candidates are scored with their own vectors, not with what 2 bits keep of them; "
        "a quarter of the centroids"
    )

    nprobe: int = 16
    candidates: int = 1_000

    def __post_init__(self) -> None:
        if self.nprobe < 1:
            raise ValueError(f"nprobe must be at least 1, not {self.nprobe}")
        if not 1 <= self.candidates <= 10_000:
            raise ValueError(f"candidates must be from 1 to 10000, not {self.candidates}")

    def plan(self, query: Query, limit: int) -> Plan | None:
        tokens = self.asked(query)
        if not tokens:
            return None
        asked = np.concatenate(tokens)
        promising = Plan(
            NearCentroids(self.vector, asked, self.nprobe), max(limit, self.candidates)
        )
        return Plan(Nearest(self.vector, asked, exact=True), limit, (promising,))
