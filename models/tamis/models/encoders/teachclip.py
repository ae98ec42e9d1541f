"""TeachCLIP learns from slower models which frames of a video matter; it is searched as CLIP4Clip.

As published, the weights are over all slots for frames, those of a shorter video's missing ones
included: pictures of zeros stand there. A model exported with `masked=true` gives those no weight.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.video import FramesEncoder
from tamis.models.types import Paper

__all__ = ("TeachCLIP",)


@dataclass(frozen=True, kw_only=True)
class TeachCLIP(FramesEncoder):
    """CLIP4Clip's transformer; the frames are weighted by what it makes of each."""

    paper: ClassVar = Paper(
        "Holistic Features are almost Sufficient for Text-to-Video Retrieval",
        2024,
        "https://arxiv.org/abs/2308.01217",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights: weights and videos within 5e-5, through PyTorch "
        "and ONNX, missing frames as published"
    )
    departs: ClassVar = (
        "vectors are normalised, as the authors do when they compare them; float32, where they "
        "hold CLIP in float16; a video is the frames that the caller chose"
    )
    method: ClassVar = "teachclip"
