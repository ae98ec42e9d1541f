"""PreFLMR is FLMR trained on nine tasks, told apart by instructions, that also maps every patch.

Its patches look at each other and at the words before they become rows. An instruction is read,
and its own rows are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.encoders.flmr import FLMR
from tamis.models.types import Paper

__all__ = ("PreFLMR",)


@dataclass(frozen=True, kw_only=True)
class PreFLMR(FLMR):
    """Rows of words, of a picture, and of each of its patches; ViT-B, L and G by their sizes."""

    paper: ClassVar[Paper | None] = Paper(
        "PreFLMR: Scaling Up Fine-Grained Late-Interaction Multi-modal Retrievers",
        2024,
        "https://arxiv.org/abs/2402.08327",
    )
    checked: ClassVar = (
        "golden data of the authors' code: ids, masks, rows and scores, through ONNX"
    )
    departs: ClassVar = (
        "patches see those after them whatever the attention kernel, as the model was trained; a "
        "query without words has no rows for words"
    )
    method: ClassVar = "preflmr"
