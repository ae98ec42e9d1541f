"""CLIP4Clip searches videos by texts with CLIP: a video is the mean of its frames.

Each frame is a picture to CLIP; the mean has no parameters, so CLIP itself serves as it is.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.video import FramesEncoder
from tamis.models.types import Paper

__all__ = ("CLIP4ClipMeanP",)


@dataclass(frozen=True, kw_only=True)
class CLIP4ClipMeanP(FramesEncoder):
    """The mean of the frames' directions; their order makes no difference."""

    paper: ClassVar = Paper(
        "CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval",
        2021,
        "https://arxiv.org/abs/2104.08860",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: frames, texts and videos within 5e-5, through "
        "PyTorch and ONNX"
    )
    departs: ClassVar = (
        "float32, where the authors hold CLIP in float16; a video is the frames that the caller "
        "chose; patches over time (linear_patch 3d) are not read"
    )
    method: ClassVar = "clip4clip_meanp"
