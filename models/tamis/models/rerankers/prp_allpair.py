"""Pairwise ranking prompting: a language model says which of two passages answers the query better.

A pair is far easier for a small model than a list. Every pair is asked about in both orders, since
models favour a position, and only what both say counts. Sorting by such comparisons, or a few
bubble passes, needs far fewer of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.blocks.probability import first_of_two
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.pairs import all_pair, bubbles, heapsort
from tamis.models.ranking.preferences import preferences
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PRPAllPair",)


@dataclass(frozen=True, kw_only=True)
class PRPAllPair(PlannedReranker[float]):
    """Orders by won comparisons.

    Attributes:
        model: A language model, best one that follows instructions.
        prompt: The words that it is asked with.
        pairs: ``allpair`` for all pairs, with their points as scores; ``heapsort`` for some
            n log2 n comparisons; ``sliding`` for `passes` bubble passes.
        passes: Of ``sliding``: so many of the best come to the top.
        query_tokens: Of the query; the rest is left out.
        passage_tokens: Of each passage.
        chat: Whether the model wants conversations.
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

    model: LanguageModel
    prompt: Prompts = packaged("prp")
    pairs: str = "allpair"
    passes: int = 10
    query_tokens: int = 64
    passage_tokens: int = 128
    chat: bool = False

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
        return [None] * len(shown) if told is None else first_of_two(told).tolist()
