"""PRP-Graph: a Swiss tournament of few comparisons, ranked by PageRank over its games.

A comparison counts as much as the model is sure of it: the probability of its answer is the edge's
weight, so that also a close game tells something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models import ranking
from tamis.models.ranking.preferences import PreferenceReranker
from tamis.models.ranking.swiss import swiss
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PRPGraph",)


@dataclass(frozen=True, kw_only=True)
class PRPGraph(PreferenceReranker):
    """Orders by PageRank of the graph of comparisons; at most `rounds` prompts a candidate.

    Attributes:
        rounds: Of the tournament; the paper plays 10, 20 or 40.
        prior: What PageRank believes beforehand: ``scores``, the first stage's, or ``swiss``, those
            of the tournament.
        damping: PageRank's.
    """

    paper: ClassVar = Paper(
        "PRP-Graph: Pairwise Ranking Prompting to LLMs with Graph Aggregation for Effective Text "
        "Re-ranking",
        2024,
        "https://doi.org/10.18653/v1/2024.acl-long.313",
    )
    checked: ClassVar = "PageRank of networkx; properties of the pairing; an oracle's order"
    departs: ClassVar = (
        "first weights do not fall below 0, however many candidates there are; scores that are "
        "negative count as 0 in the prior"
    )

    rounds: int = 10
    prior: str = "scores"
    damping: float = 0.85
    query_tokens: int = 32

    def __post_init__(self) -> None:
        if self.prior not in ("scores", "swiss"):
            raise ValueError(f"prior must be scores or swiss, not {self.prior!r}")
        if self.rounds < 1 or not 0 <= self.damping < 1:
            raise ValueError("needs rounds >= 1 and 0 <= damping < 1")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        scores = np.array([candidate.score for candidate in candidates], dtype=np.float64)
        prior = scores if self.prior == "scores" else None
        return swiss(len(candidates), self.rounds, prior=prior, damping=self.damping)

    def won(self, told: Float[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        return np.exp(told[:, 0])
