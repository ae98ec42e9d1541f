"""TSARankLLM scores a document by how likely a language model finds the query after it.

No head is trained: any causal model serves it, the better the more it saw of such pairs. What a
document is does not depend on the query, so its state can be kept from one search to the next.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import mean_of_spans
from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import LanguageModel, Prompt
from tamis.models.types import Paper

__all__ = ("TSARankLLM",)


@dataclass(frozen=True, kw_only=True)
class TSARankLLM(TextReranker):
    """The mean log-probability of the query's tokens after the document.

    Attributes:
        model: A causal language model.
        prompt: The words around the document.
        max_tokens: Of document and query together; a longer document is cut.
    """

    paper: ClassVar = Paper(
        "A Two-Stage Adaptation of Large Language Models for Text Ranking",
        2023,
        "https://arxiv.org/abs/2311.16720",
    )
    checked: ClassVar = "the cross-entropy of transformers' LlamaForCausalLM over the query"
    departs: ClassVar = "document and query are tokenized one by one, so that a state can be kept"

    model: LanguageModel
    prompt: Prompts = packaged("tsarankllm")
    max_tokens: int = 502

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        span = self.prompt.template("span").fill(query=query)
        room = self.max_tokens - self.model.counts([span])[0]
        told = self.prompt.template("document").fit(self.model, room, texts, "document")
        documents = [Prompt(prefix=text) for text in told]
        return mean_of_spans(self.model.span_log_likelihoods(documents, [span] * len(texts)))
