"""CLIP puts pictures and texts into one space, by two towers trained on pairs from the web.

Serves OpenAI's and open_clip's checkpoints. A content has its text's vector, its picture's, and
one for the whole: in a mixed collection, search `dense`; to search pictures by what they show and
nothing else, search `image`, by a query's `text` and `image`.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import DualEncoder
from tamis.models.types import Paper

__all__ = ("CLIP",)


@dataclass(frozen=True, kw_only=True)
class CLIP(DualEncoder):
    """Two transformers, one reading 77 tokens, one reading patches."""

    paper: ClassVar = Paper(
        "Learning Transferable Visual Models From Natural Language Supervision",
        2021,
        "https://arxiv.org/abs/2103.00020",
    )
    checked: ClassVar = (
        "transformers' CLIPModel on random weights within 1e-5, its image processor to the last "
        "bit, its tokenizer on 9,048 texts (open_clip's too, but for 13); UniIR's golden towers"
    )
    departs: ClassVar = (
        "a content with both parts also has one vector, which CLIP itself does not define; texts "
        "that were decoded by the wrong table are not repaired"
    )
    method: ClassVar = "clip"
