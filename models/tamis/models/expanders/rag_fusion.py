"""RAG-Fusion lets a language model word a query in several ways, and fuses what each one finds."""

import re
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.expanders import TextExpander
from tamis.models.prompts import Template
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.types import Paper

__all__ = ("RagFusion",)

ASKED = Template(
    "Write {count} search queries that ask for the same as the following one in other words, "
    "one on each line.\n\nQuery: {query}\n\nQueries:"
)
BULLET = re.compile(r"^\s*(?:\d+[.):]|[-*\u2022])?\s*")


@dataclass(frozen=True, kw_only=True)
class RagFusion(TextExpander):
    """The query and other wordings of it, whose rankings are fused by reciprocal rank.

    Attributes:
        model: A language model that follows instructions.
        wordings: How many it is asked for; lines beyond do not count.
        max_tokens: Of its answer.
        chat: Whether the model wants conversations.
    """

    paper: ClassVar = Paper(
        "RAG-Fusion: a New Take on Retrieval-Augmented Generation",
        2024,
        "https://arxiv.org/abs/2402.03367",
    )
    checked: ClassVar = "what the model is asked; any lines as its answer"
    departs: ClassVar = "the prompt's words are our own"

    model: LanguageModel
    wordings: int = 4
    max_tokens: int = 128
    chat: bool = True

    def __post_init__(self) -> None:
        if self.wordings < 1:
            raise ValueError(f"wordings must be at least 1, not {self.wordings}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")

    def expand(self, text: str) -> list[str]:
        asked = ASKED.fill(query=text, count=self.wordings)
        prompt = Prompt(messages=(Message("user", asked),)) if self.chat else Prompt(text=asked)
        (answer,) = self.model.generate([prompt], max_tokens=self.max_tokens)
        lines = [BULLET.sub("", line, count=1).strip() for line in answer.splitlines()]
        others = dict.fromkeys(line for line in lines if line and line != text)
        return [text, *list(others)[: self.wordings]]
