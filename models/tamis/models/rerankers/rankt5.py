"""RankT5 trains an encoder-decoder to rank: the score is one logit of its first step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import LanguageModel, Prompt, single_token
from tamis.models.types import Paper

__all__ = ("RankT5",)


@dataclass(frozen=True, kw_only=True)
class RankT5(TextReranker):
    """The raw logit of a spare token. It has no scale: not for thresholds, not across queries.

    Attributes:
        model: An encoder-decoder that was trained so.
        prompt: The words and the token that it was trained on.
        max_tokens: Of the prompt; a longer document is cut.
    """

    paper: ClassVar = Paper(
        "RankT5: Fine-Tuning T5 for Text Ranking with Ranking Losses",
        2022,
        "https://arxiv.org/abs/2210.10634",
    )
    checked: ClassVar = "the first step of transformers' T5ForConditionalGeneration"
    departs: ClassVar = "the encoder-decoder form only, not the one with an encoder alone"

    model: LanguageModel
    prompt: Prompts = packaged("rankt5")
    max_tokens: int = 512

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        template = self.prompt.template("prompt")
        asked = template.fit(self.model, self.max_tokens - 1, texts, "document", query=query)
        token = single_token(self.model, self.prompt.text("score"))
        return self.model.token_logits([Prompt(text=text) for text in asked], [token])[:, 0]
