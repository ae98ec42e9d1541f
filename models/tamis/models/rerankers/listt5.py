"""ListT5 reads five passages at once, and a tournament of fives finds the best of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.tournament import tournament
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.ordering import FusionInDecoder
from tamis.models.types import Candidate, Paper, Query

__all__ = ("ListT5",)


@dataclass(frozen=True, kw_only=True)
class ListT5(PlannedReranker[Sequence[int]]):
    """Finds the best ones by a tournament of a Fusion-in-Decoder model.

    The model names the passages from the least to the most relevant one, so that it has compared
    the others when it names the best.

    Attributes:
        model: A T5 that was trained for it.
        prompt: The words that it was trained on.
        window: Passages that it reads at once, as it was trained.
        keep: How many of a group go on to the next round.
        top: How many of the best are looked for; the others keep the first stage's order.
        passage_tokens: Of one passage, at most.
    """

    paper: ClassVar = Paper(
        "ListT5: Listwise Reranking with Fusion-in-Decoder Improves Zero-shot Retrieval",
        2024,
        "https://arxiv.org/abs/2402.15838",
    )
    checked: ClassVar = (
        "transformers' T5 over concatenated states, step by step; an oracle's order and its calls"
    )
    departs: ClassVar = (
        "the model can only name what it has not named yet; a passage that fills up a group does "
        "not count in it"
    )

    model: FusionInDecoder
    prompt: Prompts = packaged("listt5")
    window: int = 5
    keep: int = 2
    top: int = 10
    passage_tokens: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.window:
            raise ValueError(f"needs 1 <= keep < window, not {self.keep} and {self.window}")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return tournament(len(candidates), size=self.window, keep=self.keep, top=self.top)

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        asked = query.content.text
        if asked is None:
            return [None] * len(shown)
        template = self.prompt.template("passage")
        names = [str(number) for number in range(1, self.window + 1)]
        groups = []
        for group in shown:
            texts = [candidate.content.text or "" for candidate in group]
            groups.append(
                [
                    template.fill(query=asked, name=name, passage=text)
                    for name, text in zip(
                        names, self.model.cut(texts, self.passage_tokens), strict=False
                    )
                ]
            )
        return [order[::-1] for order in self.model.orders(groups, names)]
