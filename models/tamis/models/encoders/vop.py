"""VoP tunes CLIP to videos by prompts in each layer, a thousandth of its weights.

CLIP4Clip's mean, over frames and texts that are read with the prompts among their tokens.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.video import FramesEncoder
from tamis.models.types import Paper

__all__ = ("VoP",)


@dataclass(frozen=True, kw_only=True)
class VoP(FramesEncoder):
    """Prompts in both towers, the same for every frame; then the mean of the frames."""

    paper: ClassVar = Paper(
        "VoP: Text-Video Co-operative Prompt Tuning for Cross-Modal Retrieval",
        2022,
        "https://arxiv.org/abs/2211.12764",
    )
    checked: ClassVar = (
        "a plain second implementation on tiny random weights, through PyTorch and ONNX: the "
        "authors published neither code nor weights"
    )
    departs: ClassVar = (
        "prompts stand after the first token of a text or a frame, which the paper leaves open; "
        "the prompts by position, context and layer of its variants are not there"
    )
    method: ClassVar = "vop"
