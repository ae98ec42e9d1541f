"""duoT5 asks an encoder-decoder which of two documents is the more relevant one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.blocks.probability import first_of_two
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.pairs import all_pair
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel, Prompt, first_token
from tamis.models.types import Candidate, Paper, Query

__all__ = ("DuoT5",)

SPARE = 5  # tokens: the one at the end, and those that appear where cut texts meet the words


@dataclass(frozen=True, kw_only=True)
class DuoT5(PlannedReranker[float]):
    """A document's score is the sum of its probabilities of being better than each other one.

    Attributes:
        model: An encoder-decoder; with a prompt of its own, any language model.
        prompt: The words and labels that it was trained on.
        max_tokens: Of the prompt; longer documents are cut, each to half of the room.
        both_ways: Whether each pair is shown in both orders, as in the paper. Otherwise once, the
            better placed first, for half of the prompts.
    """

    paper: ClassVar = Paper(
        "The Expando-Mono-Duo Design Pattern for Text Ranking with Pretrained Sequence-to-Sequence "
        "Models",
        2021,
        "https://arxiv.org/abs/2101.05667",
    )
    checked: ClassVar = (
        "the first step of transformers' T5ForConditionalGeneration; golden sums of rank_llm"
    )
    departs: ClassVar = (
        "each pair is asked about once, as in rank_llm, and the other order's probability is the "
        "complement; `both_ways` counts wins of both orders instead of the paper's sums"
    )

    model: LanguageModel
    prompt: Prompts = packaged("duot5")
    max_tokens: int = 512
    both_ways: bool = False

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        return all_pair(len(candidates), both_ways=self.both_ways)

    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> Sequence[float | None]:
        asked = query.content.text
        pairs = [(first.content.text, second.content.text) for first, second in shown]
        if asked is None:
            return [None] * len(pairs)
        texts = [self._text(asked, first or "", second or "") for first, second in pairs]
        labels = [first_token(self.model, self.prompt.text(key)) for key in ("relevant", "other")]
        told = self.model.token_log_probabilities([Prompt(text=text) for text in texts], labels)
        return [float(one) for one in first_of_two(told)]

    def _text(self, query: str, first: str, second: str) -> str:
        template = self.prompt.template("prompt")
        bare = self.model.counts([template.fill(query=query, first="", second="")])[0]
        room = max(0, self.max_tokens - SPARE - bare) // 2
        first, second = self.model.cut([first, second], room)
        return template.fill(query=query, first=first, second=second)
