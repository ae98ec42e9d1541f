"""monoT5 asks an encoder-decoder whether a document is relevant, and reads "true" or "false"."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import first_of_two
from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import LanguageModel, Prompt, first_token
from tamis.models.types import Paper

__all__ = ("MonoT5",)


@dataclass(frozen=True, kw_only=True)
class MonoT5(TextReranker):
    """The probability of the label "relevant" against the other one, at the first token.

    Attributes:
        model: An encoder-decoder; with a prompt of its own, any language model.
        prompt: The words and labels that it was trained on.
        max_tokens: Of the prompt; a longer document is cut.
    """

    paper: ClassVar = Paper(
        "Document Ranking with a Pretrained Sequence-to-Sequence Model",
        2020,
        "https://arxiv.org/abs/2003.06713",
    )
    checked: ClassVar = "the first step of transformers' T5ForConditionalGeneration"

    model: LanguageModel
    prompt: Prompts = packaged("monot5")
    max_tokens: int = 512

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        template = self.prompt.template("prompt")
        asked = template.fit(self.model, self.max_tokens - 1, texts, "document", query=query)
        labels = [first_token(self.model, self.prompt.text(key)) for key in ("relevant", "other")]
        told = self.model.token_log_probabilities([Prompt(text=text) for text in asked], labels)
        return first_of_two(told)
