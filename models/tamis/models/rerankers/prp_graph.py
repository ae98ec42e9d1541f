"""PRP-Graph: a Swiss tournament of few comparisons, ranked by PageRank over its games.

A comparison counts as much as the model is sure of it: the probability of its answer is the edge's
weight, so that also a close game tells something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models import ranking
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.preferences import preferences
from tamis.models.ranking.swiss import swiss
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PRPGraph",)


@dataclass(frozen=True, kw_only=True)
class PRPGraph(PlannedReranker[float]):
    """Orders by PageRank of the graph of comparisons; at most `rounds` prompts a candidate.

    Attributes:
        model: A language model, best one that follows instructions.
        prompt: The words that it is asked with.
        rounds: Of the tournament; the paper plays 10, 20 or 40.
        prior: What PageRank believes beforehand: ``scores``, the first stage's, or ``swiss``, those
            of the tournament.
        damping: PageRank's.
        query_tokens: Of the query; the rest is left out.
        passage_tokens: Of each passage.
        chat: Whether the model wants conversations.
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

    model: LanguageModel
    prompt: Prompts = packaged("prp")
    rounds: int = 10
    prior: str = "scores"
    damping: float = 0.85
    query_tokens: int = 32
    passage_tokens: int = 128
    chat: bool = False

    def __post_init__(self) -> None:
        if self.prior not in ("scores", "swiss"):
            raise ValueError(f"prior must be scores or swiss, not {self.prior!r}")
        if self.rounds < 1 or not 0 <= self.damping < 1:
            raise ValueError("needs rounds >= 1 and 0 <= damping < 1")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        scores = np.array([candidate.score for candidate in candidates], dtype=np.float64)
        prior = scores if self.prior == "scores" else None
        return swiss(len(candidates), self.rounds, prior=prior, damping=self.damping)

    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> Sequence[float | None]:
        told = preferences(
            self.model,
            self.prompt,
            query,
            shown,
            query_tokens=self.query_tokens,
            passage_tokens=self.passage_tokens,
            chat=self.chat,
        )
        return [None] * len(shown) if told is None else np.exp(told[:, 0]).tolist()
