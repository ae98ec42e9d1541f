"""VLM2Vec turns a vision-language model into an embedder that follows instructions.

The instruction stands before the text, without a chat around it, and the picture before both. The
state of the last token is the embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.last_token import LastTokenEncoder
from tamis.models.types import Paper

__all__ = ("VLM2Vec",)


@dataclass(frozen=True, kw_only=True)
class VLM2Vec(LastTokenEncoder):
    """Qwen2-VL trained on MMEB's tasks, each with its instruction."""

    paper: ClassVar = Paper(
        "VLM2Vec: Training Vision-Language Models for Massive Multimodal Embedding Tasks",
        2024,
        "https://arxiv.org/abs/2410.05160",
    )
    checked: ClassVar = (
        "transformers' Qwen2-VL on random weights, prompt and picture included; either padding"
    )
    departs: ClassVar = "of its backbones Qwen2-VL only: neither Phi-3.5-V nor LLaVA"
    method: ClassVar = "vlm2vec"
