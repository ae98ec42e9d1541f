"""Co-Prompt scores documents by the query's likelihood under an instruction that was searched for.

Two frozen models find the instruction offline: one proposes its words, the other tells how well
documents explain their queries with them. Served is the outcome, a prompt file, which
`python -m tamis.models.train.co_prompt` writes.
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

__all__ = ("CoPrompt",)


@dataclass(frozen=True, kw_only=True)
class CoPrompt(TextReranker):
    """The mean log-probability of the query after the document and the instruction.

    Attributes:
        model: The language model that the instruction was searched for.
        prompt: The instruction, and where it stands.
        document_tokens: Of a document; what is beyond is left out. The authors' code means to, and
            its clipping never runs. 480 for T5 and T0.
    """

    paper: ClassVar = Paper(
        "Discrete Prompt Optimization via Constrained Generation for Zero-shot Re-ranker",
        2023,
        "https://arxiv.org/abs/2305.13729",
    )
    checked: ClassVar = "the cross-entropy of transformers' LlamaForCausalLM over the query"
    departs: ClassVar = "the packaged instruction is written by hand; searched ones are not public"

    model: LanguageModel
    prompt: Prompts = packaged("co_prompt")
    document_tokens: int = 900

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        template, instruction = self.prompt.template("document"), self.prompt.text("instruction")
        told = [
            Prompt(prefix=template.fill(document=text, instruction=instruction))
            for text in self.model.cut(texts, self.document_tokens)
        ]
        span = self.prompt.template("span").fill(query=query)
        return mean_of_spans(self.model.span_log_likelihoods(told, [span] * len(texts)))
