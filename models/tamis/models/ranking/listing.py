"""Prompts that show a language model a list of passages, within the room that it has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.models.prompts import Prompts
from tamis.models.runtimes.language import LanguageModel, Message, Prompt

BRACKETED = re.compile(r"\[(\d+|[A-Z])\]")  # what a passage must not look like
TURN_TOKENS = 8  # what a chat template puts around a turn, at most


@dataclass(frozen=True, kw_only=True)
class Listing:
    """How passages are shown.

    Attributes:
        model: Whose tokens are counted.
        prompt: A file like ``rankgpt``: turns `before`, `each` and `after`. Where there is none for
            `each` passage, its `line`s stand at the place ``{passages}``.
        identifiers: What the passages are called, in their order.
        words: Of one passage, at most.
        max_tokens: Of the prompt and its answer.
        answer: How the answer begins.
        answer_tokens: How long it may be.
        chat: Whether the model wants conversations; otherwise the turns are joined to one text.
    """

    model: LanguageModel
    prompt: Prompts
    identifiers: Sequence[str]
    words: int
    max_tokens: int
    answer: str
    answer_tokens: int
    chat: bool

    def prompt_of(self, query: str, passages: Sequence[str]) -> Prompt:
        """The passages in a prompt; all are shortened alike until they fit."""
        room = min(self.max_tokens, self.model.max_tokens) - self.answer_tokens
        words = self.words
        while True:
            turns = self._turns(query, [_shortened(passage, words) for passage in passages])
            texts = [turn.text for turn in turns]
            over = sum(self.model.counts([*texts, self.answer])) + TURN_TOKENS * len(turns) - room
            if over <= 0 or words == 0:
                break
            # A word is some tokens: a quarter of what is too much is surely not too little to go.
            words = max(0, words - max(1, over // (4 * len(passages))))
        if self.chat:
            return Prompt(messages=tuple(turns), answer=self.answer)
        return Prompt(text="\n".join(texts) + "\n", answer=self.answer)

    def _turns(self, query: str, passages: Sequence[str]) -> list[Message]:
        known = {"query": query, "count": len(passages)}
        named = list(zip(self.identifiers, passages, strict=False))
        each = [
            turn
            for identifier, passage in named
            for turn in self.prompt.conversation(
                "each", identifier=identifier, passage=passage, **known
            )
        ]
        if not each:
            line = self.prompt.template("line")
            known["passages"] = "".join(line.fill(identifier=i, passage=p) for i, p in named)
        return [
            *self.prompt.conversation("before", **known),
            *each,
            *self.prompt.conversation("after", **known),
        ]


def _shortened(passage: str, words: int) -> str:
    """The first words, without what looks like an identifier."""
    return BRACKETED.sub(r"(\1)", " ".join(passage.split()[:words]))
