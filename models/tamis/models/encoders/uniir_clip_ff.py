"""UniIR's CLIP_FF mixes CLIP's tokens and patches in a small T5 encoder and takes the mean.

Feature fusion: nothing is masked. A missing text is the empty one, a missing picture a tensor of
zeros (mid-grey), and the padding of a text is averaged in as the authors do.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import FeatureFusion
from tamis.models.types import Paper

__all__ = ("UniIRClipFF",)


@dataclass(frozen=True, kw_only=True)
class UniIRClipFF(FeatureFusion):
    """CLIP ViT-L/14 and a two-layer T5 encoder, tuned on M-BEIR."""

    paper: ClassVar = Paper(
        "UniIR: Training and Benchmarking Universal Multimodal Information Retrievers",
        2023,
        "https://arxiv.org/abs/2311.17136",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: the states and the vector within 5e-5, through "
        "PyTorch and ONNX"
    )
    departs: ClassVar = (
        "float32 vectors, where the authors store float16; the states of the missing picture are "
        "computed once, not for each text"
    )
    method: ClassVar = "uniir_clip_ff"
