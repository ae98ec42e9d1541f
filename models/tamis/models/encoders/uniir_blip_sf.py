"""UniIR's BLIP_SF is its score fusion on BLIP: the sum of the text's vector and the picture's.

The text encoder reads words alone, without its cross-attention. A missing part is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import ScoreFusion
from tamis.models.types import Paper

__all__ = ("UniIRBlipSF",)


@dataclass(frozen=True, kw_only=True)
class UniIRBlipSF(ScoreFusion):
    """BLIP's vision and text encoders tuned on M-BEIR, summed."""

    paper: ClassVar = Paper(
        "UniIR: Training and Benchmarking Universal Multimodal Information Retrievers",
        2023,
        "https://arxiv.org/abs/2311.17136",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: both towers and the sum within 5e-5, through "
        "PyTorch and ONNX"
    )
    departs: ClassVar = "float32 vectors, where the authors store float16"
    method: ClassVar = "uniir_blip_sf"
