"""RankGPT lets a language model write the order of some passages, window after window."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.blocks.permutations import after_reasoning, parse_letters, parse_numbers
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.listing import Listing
from tamis.models.ranking.windows import sliding_windows
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Candidate, Paper, Query

__all__ = ("RankGPT",)


@dataclass(frozen=True, kw_only=True)
class RankGPT(PlannedReranker[Sequence[int]]):
    """Orders windows of passages from the bottom up, so that the best rise to the top.

    Whatever the model writes is read as an order: names that are repeated or unknown do not count,
    and passages that it does not name follow.

    Attributes:
        model: A language model that follows instructions.
        prompt: How it is asked: ``rankgpt`` for any, ``rank_zephyr`` for those trained on it.
        window: Passages of one prompt.
        step: How far the next window is above it.
        clamped: Whether the last window begins at the top; the authors' own loop leaves the head of
            most lists unread.
        letters: Whether passages are called by letters; then a window has 26 at most.
        words: Of a passage; fewer where the prompt would be too long.
        max_tokens: Of the prompt and its answer.
        answer: How the answer begins; a model that was not trained to answer needs it.
        chat: Whether the model wants conversations.
    """

    paper: ClassVar = Paper(
        "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents",
        2023,
        "https://arxiv.org/abs/2304.09542",
    )
    checked: ClassVar = (
        "golden windows, answers and runs of the authors' code and of rank_llm; any bytes as answer"
    )
    departs: ClassVar = (
        "the last window begins at the top, as in rank_llm; the prompt's words are our own, those "
        "of RankZephyr excepted"
    )
    at_once: ClassVar = 1

    model: LanguageModel
    prompt: Prompts = packaged("rankgpt")
    window: int = 20
    step: int = 10
    clamped: bool = True
    letters: bool = False
    words: int = 300
    max_tokens: int = 4096
    answer: str = ""
    chat: bool = True

    def __post_init__(self) -> None:
        if self.letters and self.window > len(string.ascii_uppercase):
            raise ValueError(f"letters are enough for a window of 26, not of {self.window}")
        if self.window < 2 or not 1 <= self.step <= self.window:
            raise ValueError(
                f"needs 1 <= step <= window and window >= 2, not {self.step} and {self.window}"
            )

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return sliding_windows(
            len(candidates), size=self.window, step=self.step, clamped=self.clamped
        )

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        if query.content.text is None:
            return [None] * len(shown)
        names = [str(number) for number in range(1, self.window + 1)]
        if self.letters:
            names = list(string.ascii_uppercase[: self.window])
        (tokens,) = self.model.counts([" > ".join(f"[{name}]" for name in names)])
        listing = Listing(
            model=self.model,
            prompt=self.prompt,
            identifiers=names,
            words=self.words,
            max_tokens=self.max_tokens,
            answer=self.answer,
            answer_tokens=tokens + 1,
            chat=self.chat,
        )
        prompts = [
            listing.prompt_of(query.content.text, [one.content.text or "" for one in group])
            for group in shown
        ]
        answers = self.model.generate(prompts, max_tokens=tokens + 1)
        parse = parse_letters if self.letters else parse_numbers
        return [
            parse(after_reasoning(self.answer + answer), len(group))
            for answer, group in zip(answers, shown, strict=True)
        ]
