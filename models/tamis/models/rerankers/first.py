"""FIRST reads a listwise model's order off the logits of its first token.

A model that was trained to write an order knows it before it writes: the letter that it would write
first is that of the best passage, the second likeliest that of the next, and so on. One token takes
the place of the whole answer.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.blocks.permutations import by_score
from tamis.models.errors import ModelError
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.listing import Listing
from tamis.models.ranking.windows import sliding_windows
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Candidate, Paper, Query

__all__ = ("FIRST",)

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, kw_only=True)
class FIRST(PlannedReranker[Sequence[int]]):
    """Orders windows of passages from the bottom up, by the logits of their letters.

    Attributes:
        model: A language model, best one trained for it.
        prompt: The words that it was trained on.
        window: Passages of one prompt, at most 26.
        step: How far the next window is above it.
        words: Of a passage; fewer where the prompt would be too long.
        max_tokens: Of the prompt.
        chat: Whether the model wants conversations.
    """

    paper: ClassVar = Paper(
        "FIRST: Faster Improved Listwise Reranking with Single Token Decoding",
        2024,
        "https://arxiv.org/abs/2406.15657",
    )
    checked: ClassVar = (
        "golden orders of the authors' code and of rank_llm; the logits of transformers"
    )
    departs: ClassVar = (
        "the logits of all letters are read, where the authors' engine gives the likeliest tokens "
        "only; the last window begins at the top"
    )
    at_once: ClassVar = 1

    model: LanguageModel
    prompt: Prompts = packaged("first")
    window: int = 20
    step: int = 10
    words: int = 300
    max_tokens: int = 4096
    chat: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.window <= len(LETTERS):
            raise ValueError(f"window must be from 2 to {len(LETTERS)}, not {self.window}")
        if not 1 <= self.step <= self.window:
            raise ValueError(f"step must be from 1 to the window, not {self.step}")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return sliding_windows(len(candidates), size=self.window, step=self.step)

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        if query.content.text is None:
            return [None] * len(shown)
        listing = Listing(
            model=self.model,
            prompt=self.prompt,
            identifiers=LETTERS,
            words=self.words,
            max_tokens=self.max_tokens,
            answer="[",
            answer_tokens=1,
            chat=self.chat,
        )
        prompts = [
            listing.prompt_of(query.content.text, [one.content.text or "" for one in group])
            for group in shown
        ]
        places, ids = self._letters()
        logits = self.model.token_logits(prompts, ids)
        return [
            by_score(places, own.tolist(), len(group))
            for own, group in zip(logits, shown, strict=True)
        ]

    def _letters(self) -> tuple[list[int], list[int]]:
        """The tokens that are one letter, with a space before it or without, and its place.

        Raises:
            ModelError: A letter is no token of the model's.
        """
        places, ids = [], []
        for place, letter in enumerate(LETTERS[: self.window]):
            own = {tuple(self.model.token_ids(text)) for text in (letter, f" {letter}")}
            single = sorted(found[0] for found in own if len(found) == 1)
            if not single:
                raise ModelError(f"{letter!r} is no token of the model's, so it cannot be read")
            places += [place] * len(single)
            ids += single
        return places, ids
