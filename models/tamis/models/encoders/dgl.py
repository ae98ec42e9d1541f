"""DGL tunes CLIP to videos by prompts: some in each frame, and global ones that see every frame.

The first global token is the video. The prompts depend on no input and are constants of the graphs.
Each frame's are its position's, so a shorter video is filled with pictures of zeros, as the authors
fill it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL.Image import Image

from tamis.models.runtimes.video import VideoEncoder, Watched
from tamis.models.types import Paper

__all__ = ("DGL",)


@dataclass(frozen=True, kw_only=True)
class DGL(VideoEncoder):
    """CLIP's vision tower over all frames at once; one video at a time bounds its memory."""

    paper: ClassVar = Paper(
        "DGL: Dynamic Global-Local Prompt Tuning for Text-Video Retrieval",
        2024,
        "https://arxiv.org/abs/2401.10588",
    )
    checked: ClassVar = (
        "a plain second implementation of the published code's attention and prompts on tiny "
        "random weights, through PyTorch and ONNX; no published weights"
    )
    departs: ClassVar = (
        "prompts after a text's last token are left out: nothing sees them; the video is the first "
        "global token, the published code's other outputs are not there"
    )
    method: ClassVar = "dgl"
    graphs: ClassVar = ("text", "video")

    def _watch(self, videos: Sequence[Sequence[Image]]) -> list[Watched]:
        return [Watched(self._whole(video)) for video in videos]

    def _whole(self, video: Sequence[Image]) -> np.ndarray:
        missing = [self._blank] * (self._rule.most - len(video))
        pixels = np.stack([*(self._recipe.image(frame) for frame in video), *missing])
        made: np.ndarray = self._sessions["video"].run({"pixels": pixels[None]})["embedding"][0]
        return made
