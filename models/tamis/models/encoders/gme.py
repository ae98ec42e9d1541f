"""GME embeds texts, pictures, and texts with pictures, in one space, as a chat that it ends.

The instruction is the system's message; documents have none of their own. The last token of the
assistant's empty turn has read the whole, and its state is the embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.last_token import LastTokenEncoder
from tamis.models.types import Paper

__all__ = ("GME",)


@dataclass(frozen=True, kw_only=True)
class GME(LastTokenEncoder):
    """Qwen2-VL trained on pairs of all modalities."""

    paper: ClassVar = Paper(
        "GME: Improving Universal Multimodal Retrieval by Multimodal LLMs",
        2024,
        "https://arxiv.org/abs/2412.16855",
    )
    checked: ClassVar = (
        "transformers' Qwen2-VL on random weights, prompt and picture included; either padding"
    )
    departs: ClassVar = (
        "an over-long text is cut before the prompt's end, which the authors cut off"
    )
    method: ClassVar = "gme"
