"""Pairwise ranking prompting: a language model says which of two passages answers the query better.

A pair is far easier for a small model than a list. Every pair is asked about in both orders, since
models favour a position, and only what both say counts. Sorting by such comparisons, or a few
bubble passes, needs far fewer of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models import ranking
from tamis.models.blocks.probability import first_of_two
from tamis.models.ranking.pairs import all_pair, bubbles, heapsort
from tamis.models.ranking.preferences import PreferenceReranker
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PRPAllPair",)


@dataclass(frozen=True, kw_only=True)
class PRPAllPair(PreferenceReranker):
    """Orders by won comparisons.

    Attributes:
        pairs: ``allpair`` for all pairs, with their points as scores; ``heapsort`` for some
            n log2 n comparisons; ``sliding`` for `passes` bubble passes.
        passes: Of ``sliding``: so many of the best come to the top.
    """

    paper: ClassVar = Paper(
        "Large Language Models are Effective Text Rankers with Pairwise Ranking Prompting",
        2023,
        "https://arxiv.org/abs/2306.17563",
    )
    checked: ClassVar = (
        "golden data of the paper's folds; an oracle's order and its calls; transformers' logits"
    )
    departs: ClassVar = (
        "a heap decides ties by the first stage's order, and no pair is asked about twice"
    )

    pairs: str = "allpair"
    passes: int = 10
    query_tokens: int = 64

    def __post_init__(self) -> None:
        if self.pairs not in ("allpair", "heapsort", "sliding"):
            raise ValueError(f"pairs must be allpair, heapsort or sliding, not {self.pairs!r}")
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1, not {self.passes}")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        match self.pairs:
            case "heapsort":
                return heapsort(len(candidates))
            case "sliding":
                return bubbles(len(candidates), self.passes)
            case _:
                return all_pair(len(candidates))

    def won(self, told: Float[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        return first_of_two(told)
