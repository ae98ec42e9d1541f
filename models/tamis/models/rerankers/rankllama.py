"""RankLLaMA reads query and document with a large decoder and scores its last token."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import SequenceClassifier
from tamis.models.types import Paper

__all__ = ("RankLLaMA",)

END = 3  # tokens that the authors keep free at a document's end


@dataclass(frozen=True, kw_only=True)
class RankLLaMA(TextReranker):
    """The head's logit at the last token, without anything after the document.

    Attributes:
        model: A decoder with a head of one class.
        prompt: The words that it was trained on.
        query_tokens: Of the query, its prefix included; what is beyond is left out.
        document_tokens: Of the document, and the same; 164 for passages, 2048 for documents.
    """

    paper: ClassVar = Paper(
        "Fine-Tuning LLaMA for Multi-Stage Text Retrieval",
        2023,
        "https://arxiv.org/abs/2310.08319",
    )
    checked: ClassVar = "transformers' LlamaForSequenceClassification, one text at a time"
    departs: ClassVar = (
        "documents without a title get the prefix that training gave them and the authors' "
        "inference code drops"
    )

    model: SequenceClassifier
    prompt: Prompts = packaged("rankllama")
    query_tokens: int = 32
    document_tokens: int = 164

    def __post_init__(self) -> None:
        if self.query_tokens < 1 or self.document_tokens <= END:
            raise ValueError(f"query_tokens must be at least 1, document_tokens more than {END}")

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        start, template = self.model.start_id, self.prompt.template("document")
        asked = self.model.token_ids(self.prompt.template("query").fill(query=query))
        before = [start, *asked[: self.query_tokens], start]
        documents = [self.model.token_ids(template.fill(document=text)) for text in texts]
        rows = [[*before, *ids[: self.document_tokens - END]] for ids in documents]
        return self.model.logits(rows)[:, 0]
