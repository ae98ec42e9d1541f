"""DSE embeds a screenshot of a document, so that nothing need be parsed out of it.

A page is a picture with a question after it; a query is a text with a blank picture before it, so
that both take one path through the model. The state of the last token is the embedding, of which
the first dimensions may do.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.last_token import LastTokenEncoder
from tamis.models.types import Paper

__all__ = ("DSE",)


@dataclass(frozen=True, kw_only=True)
class DSE(LastTokenEncoder):
    """Qwen2-VL trained on screenshots, its embedding cut where one likes."""

    paper: ClassVar = Paper(
        "Unifying Multimodal Retrieval via Document Screenshot Embedding",
        2024,
        "https://arxiv.org/abs/2406.11251",
    )
    checked: ClassVar = (
        "transformers' Qwen2-VL on random weights, prompt and picture included; either padding"
    )
    departs: ClassVar = "the Qwen2-VL checkpoints, not those of Phi-3-V; a page's text is not read"
    method: ClassVar = "dse"
