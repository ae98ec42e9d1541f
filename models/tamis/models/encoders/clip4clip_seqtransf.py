"""CLIP4Clip with a transformer over a video's frames, which knows their order."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.video import FramesEncoder
from tamis.models.types import Paper

__all__ = ("CLIP4ClipSeqTransf",)


@dataclass(frozen=True, kw_only=True)
class CLIP4ClipSeqTransf(FramesEncoder):
    """Each frame gains what it takes from the others; then their mean."""

    paper: ClassVar = Paper(
        "CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval",
        2021,
        "https://arxiv.org/abs/2104.08860",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: the transformer's states and videos within "
        "5e-5, through PyTorch and ONNX"
    )
    departs: ClassVar = (
        "float32, where the authors hold CLIP in float16; a video is the frames that the caller "
        "chose; patches over time (linear_patch 3d) are not read"
    )
    method: ClassVar = "clip4clip_seqtransf"
