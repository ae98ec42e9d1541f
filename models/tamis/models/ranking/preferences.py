"""What rerankers share that ask a language model which of two passages answers a query better."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, asked, packaged
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel, first_token
from tamis.models.types import Candidate, Query


@dataclass(frozen=True, kw_only=True)
class PreferenceReranker(PlannedReranker[float]):
    """Asks about pairs. A candidate without a text is an empty passage.

    Attributes:
        model: A language model, best one that follows instructions.
        prompt: The words that it is asked with, a file like ``prp``.
        query_tokens: Of the query; the rest is left out.
        passage_tokens: Of each passage.
        chat: Whether the model wants conversations.
    """

    model: LanguageModel
    prompt: Prompts = packaged("prp")
    query_tokens: int
    passage_tokens: int = 128
    chat: bool = False

    @abstractmethod
    def won(self, told: Float[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        """The first passage's points in each pair, from 0 to 1.

        Args:
            told: Log-probabilities that the model names the first or the second passage. They are
                over the whole vocabulary, so that they need not sum to 1.
        """

    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> Sequence[float | None]:
        if query.content.text is None:
            return [None] * len(shown)
        texts = [candidate.content.text or "" for pair in shown for candidate in pair]
        (question,) = self.model.cut([query.content.text], self.query_tokens)
        passages = self.model.cut(texts, self.passage_tokens)
        template, answer = self.prompt.template("prompt"), self.prompt.text("answer")
        prompts = [
            replace(
                asked(template.fill(query=question, first=first, second=second), chat=self.chat),
                answer=answer,
            )
            for first, second in zip(passages[::2], passages[1::2], strict=True)
        ]
        labels = [first_token(self.model, self.prompt.text(key)) for key in ("first", "second")]
        won: list[float] = self.won(self.model.token_log_probabilities(prompts, labels)).tolist()
        return won
