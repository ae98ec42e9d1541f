"""PE-Rank shows a language model passages as one vector each, and lets it name them in order.

The vectors are those of the index: nothing of a passage is tokenized, and a prompt of a hundred
passages is as long as a hundred words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models import ranking
from tamis.models.blocks.similarity import unit
from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking.windows import sliding_windows
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.ordering import PLACEHOLDER, EmbeddingReader
from tamis.models.types import Candidate, Paper, Query

__all__ = ("PERank",)


@dataclass(frozen=True, kw_only=True)
class PERank(PlannedReranker[Sequence[int]]):
    """Orders windows of passages from the bottom up.

    Candidates without a vector follow the others of their window.

    Attributes:
        model: A language model with a projector, trained together.
        vector: The passages' embedding, as `encoder.head`, of the encoder it was trained with.
        prompt: How it is asked.
        window: Passages of one prompt.
        step: How far the next window is above it.
        chat: Whether the prompt is a user's turn of a conversation.
    """

    paper: ClassVar = Paper(
        "Leveraging Passage Embeddings for Efficient Listwise Reranking with Large Language Models",
        2024,
        "https://arxiv.org/abs/2406.14848",
    )
    checked: ClassVar = "a decoding loop without cache over a tiny Mistral and a random projector"
    departs: ClassVar = (
        "passages are not encoded again: the index has their vectors; requests do not write their "
        "passages into the model's vocabulary; the words between them are tokenized one by one"
    )
    at_once: ClassVar = 1

    model: EmbeddingReader
    vector: str
    prompt: Prompts = packaged("pe_rank")
    window: int = 20
    step: int = 10
    chat: bool = True

    def __post_init__(self) -> None:
        if self.window < 2 or not 1 <= self.step <= self.window:
            raise ValueError(
                f"needs 1 <= step <= window and window >= 2, not {self.step} and {self.window}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.vector,)

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return sliding_windows(len(candidates), size=self.window, step=self.step)

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        if query.content.text is None:
            return [None] * len(shown)
        return [self._order(query.content.text, group) for group in shown]

    def _order(self, query: str, group: Sequence[Candidate]) -> list[int] | None:
        vectors = [candidate.representations.get(self.vector) for candidate in group]
        held = {
            place: vector
            for place, vector in enumerate(vectors)
            if isinstance(vector, np.ndarray) and vector.shape == (self.model.dim,)
        }
        if len(held) < 2:
            return list(held)
        named = self.model.order(self._prompt(query, len(held)), unit(np.stack([*held.values()])))
        places = list(held)
        return [places[i] for i in named]

    def _prompt(self, query: str, count: int) -> Prompt:
        line = self.prompt.template("line")
        turns = self.prompt.conversation(
            "messages",
            query=query.replace(PLACEHOLDER, ""),
            count=count,
            passages="".join(line.fill(number=n, place=PLACEHOLDER) for n in range(1, count + 1)),
        )
        if self.chat:
            return Prompt(messages=turns)
        return Prompt(text="\n".join(turn.text for turn in turns) + "\n")
