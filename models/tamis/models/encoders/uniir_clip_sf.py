"""UniIR's CLIP_SF searches anything by anything: the sum of CLIP's two vectors, after instructions.

Score fusion: the outputs are summed before they are normalised, so the towers' norms are their
weights, and a part that is missing is left out. The instruction stands before a query's text.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import ScoreFusion
from tamis.models.types import Paper

__all__ = ("UniIRClipSF",)


@dataclass(frozen=True, kw_only=True)
class UniIRClipSF(ScoreFusion):
    """CLIP ViT-L/14 tuned on M-BEIR, summed."""

    paper: ClassVar = Paper(
        "UniIR: Training and Benchmarking Universal Multimodal Information Retrievers",
        2023,
        "https://arxiv.org/abs/2311.17136",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: both towers and the sum within 5e-5, through "
        "PyTorch and ONNX, and their clean-up of texts"
    )
    departs: ClassVar = (
        "float32 vectors, where the authors store float16; no learned weights of the four scores: "
        "the paper's formula has them, the published code does not"
    )
    method: ClassVar = "uniir_clip_sf"
