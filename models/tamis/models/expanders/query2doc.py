"""query2doc lets a language model write the passage that it would expect as the answer.

The passage need not be true: its words and its manner are those of the documents, which a short
query has not.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.expanders import TextExpander
from tamis.models.prompts import Template
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.types import Paper

__all__ = ("Query2Doc",)

ASKED = Template("Write a passage that answers the following query.\n\nQuery: {query}\n\nPassage:")


@dataclass(frozen=True, kw_only=True)
class Query2Doc(TextExpander):
    """The query, several times, and a passage that a language model wrote.

    Attributes:
        model: A language model that follows instructions.
        repeats: How often the query stands before the passage, so that its own words still lead:
            the paper has 5 for BM25 and 1 for dense retrievers.
        max_tokens: Of the passage.
        chat: Whether the model wants conversations.
    """

    paper: ClassVar = Paper(
        "Query2doc: Query Expansion with Large Language Models",
        2023,
        "https://arxiv.org/abs/2303.07678",
    )
    checked: ClassVar = "what the model is asked, and what becomes of its answer"
    departs: ClassVar = (
        "the model is shown no examples; a space, not [SEP], parts the query from the passage"
    )

    model: LanguageModel
    repeats: int = 5
    max_tokens: int = 128
    chat: bool = True

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")

    def expand(self, text: str) -> list[str]:
        asked = ASKED.fill(query=text)
        prompt = Prompt(messages=(Message("user", asked),)) if self.chat else Prompt(text=asked)
        (passage,) = self.model.generate([prompt], max_tokens=self.max_tokens)
        return [" ".join([*[text] * self.repeats, passage.strip()]).strip()]
