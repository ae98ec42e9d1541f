"""monoBERT reads query and document together and classifies the pair.

Also serves what has the same shape: monoELECTRA, the MS MARCO MiniLMs, the BGE rerankers.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import log_softmax
from tamis.models.ranking import AT_ONCE
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import CrossEncoder
from tamis.models.types import Paper

__all__ = ("MonoBERT",)


@dataclass(frozen=True, kw_only=True)
class MonoBERT(TextReranker):
    """The log-probability of the class "relevant", which is the last one.

    A head of one class gives its logit. Documents are cut to what the model reads; the reranker
    `max_p` scores long ones by their best window.

    Attributes:
        model: A cross-encoder.
        raw: Whether the score is the logit of "relevant", as monoELECTRA's is.
    """

    paper: ClassVar = Paper(
        "Passage Re-ranking with BERT", 2019, "https://arxiv.org/abs/1901.04085"
    )
    checked: ClassVar = "transformers' BertForSequenceClassification, through the exported graph"
    departs: ClassVar = ""
    at_once: ClassVar = 4 * AT_ONCE  # pairs are small, and are batched by their lengths

    model: CrossEncoder
    raw: bool = False

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        logits = self.model.logits([(query, text) for text in texts])
        if not self.raw and self.model.labels > 1:
            logits = log_softmax(logits)
        return logits[:, -1]
