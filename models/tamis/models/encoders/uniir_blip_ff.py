"""UniIR's BLIP_FF reads a text that attends to a picture: BLIP's image-grounded text encoder.

A missing text is the empty one, a missing picture a tensor of zeros (mid-grey), both attended to
as any other.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import FeatureFusion
from tamis.models.types import Paper

__all__ = ("UniIRBlipFF",)


@dataclass(frozen=True, kw_only=True)
class UniIRBlipFF(FeatureFusion):
    """BLIP's vision encoder and its text encoder with cross-attention, tuned on M-BEIR."""

    paper: ClassVar = Paper(
        "UniIR: Training and Benchmarking Universal Multimodal Information Retrievers",
        2023,
        "https://arxiv.org/abs/2311.17136",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: the states and the vector within 5e-5 through "
        "PyTorch; through ONNX within twice the distance of the authors' own float32 numbers from "
        "float64's (1.3e-4 on the published case)"
    )
    departs: ClassVar = (
        "float32 vectors, where the authors store float16; the states of the missing picture are "
        "computed once, not for each text"
    )
    method: ClassVar = "uniir_blip_ff"
