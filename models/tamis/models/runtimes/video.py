"""What encoders of videos share: which frames they read, and how those become one vector.

A video is its frames, which the caller chose from it; a picture alone is a video of one frame.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from PIL.Image import Image

from tamis.models.blocks.batches import MOST
from tamis.models.blocks.similarity import unit
from tamis.models.runtimes.towers import DualEncoder, TowersRecipe, where_there
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side


@dataclass(frozen=True, kw_only=True)
class FrameRule:
    """Which of a video's frames are read.

    Attributes:
        most: Frames that are read; of more, as many at even distances, the first and the last among
            them.
        filled: Whether shorter videos get pictures of zeros after their frames, up to `most`.
    """

    most: int
    filled: bool = False

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most must be at least 1, not {self.most}")

    def chosen(self, frames: Sequence[Image]) -> list[Image]:
        """The frames that are read, in their order."""
        if len(frames) <= self.most:
            return list(frames)
        return [frames[i] for i in np.linspace(0, len(frames) - 1, self.most, dtype=int)]


@dataclass(frozen=True, kw_only=True)
class VideoRecipe(TowersRecipe):
    """The `model.toml` of an encoder of texts and videos.

    Attributes:
        frames: Which frames are read.
    """

    frames: FrameRule


class Watched(NamedTuple):
    """What an encoder makes of a video.

    Attributes:
        embedding: The whole video.
        frames: Each frame before it is normalised; None where frames are not read alone.
    """

    embedding: Float[np.ndarray, " dim"]
    frames: Float[np.ndarray, "frames dim"] | None = None


@dataclass(frozen=True, kw_only=True)
class VideoEncoder(DualEncoder):
    """Towers that put texts and videos into one space, each by itself.

    Heads: `text` and `video` for each part by itself, and `dense` for the content as a whole: of
    one part it is that part's, of both the direction between the two.
    """

    modalities: ClassVar = frozenset(Modality)
    recipe: ClassVar[type[VideoRecipe]] = VideoRecipe

    @property
    def heads(self) -> Mapping[str, Head]:
        return dict.fromkeys(("text", "video", "dense"), super().heads["dense"])

    def cost(self, content: Content) -> int:
        """The tokens of its text and the patches of the frames that are read."""
        count = len(self._rule.chosen(pictures(content) or ()))
        words = super().cost(Content(text=content.text))
        return words + self._patches * (self._rule.most if count and self._rule.filled else count)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        rule = self._recipe.text
        texts = where_there([rule.text(content, side) for content in contents], self._read)
        watched = where_there([pictures(content) for content in contents], self._watch_chosen)
        return [Encoding(self._made(*parts)) for parts in zip(texts, watched, strict=True)]

    @property
    def _rule(self) -> FrameRule:
        return cast(VideoRecipe, self._recipe).frames

    @cached_property
    def _blank(self) -> Float[np.ndarray, "3 height width"]:
        """What stands for a missing frame."""
        transform = self._recipe.image
        return np.zeros((3, transform.height, transform.width), dtype=np.float32)

    def _watch_chosen(self, videos: Sequence[Sequence[Image]]) -> list[Watched]:
        return self._watch([self._rule.chosen(frames) for frames in videos])

    @abstractmethod
    def _watch(self, videos: Sequence[Sequence[Image]]) -> list[Watched]:
        """What it makes of each video's chosen frames."""

    def _made(
        self, text: Float[np.ndarray, " dim"] | None, watched: Watched | None
    ) -> dict[str, Float[np.ndarray, "..."]]:
        named = {"text": text, "video": watched and watched.embedding}
        heads = {name: unit(part) for name, part in named.items() if part is not None}
        return heads | ({"dense": unit(np.sum(list(heads.values()), axis=0))} if heads else {})


@dataclass(frozen=True, kw_only=True)
class FramesEncoder(VideoEncoder):
    """A video encoder whose vision tower looks at each frame alone.

    The graph `video` makes one vector of the frames'. Head `states` besides: a video's frames, or a
    text as one row, before they are normalised, for rerankers that read both sides together.
    """

    graphs: ClassVar[tuple[str, ...]] = ("text", "image", "video")

    @property
    def heads(self) -> Mapping[str, Head]:
        return {
            **super().heads,
            "states": Head(Kind.MULTI, self._recipe.dim, self._recipe.space),
        }

    def _made(
        self, text: Float[np.ndarray, " dim"] | None, watched: Watched | None
    ) -> dict[str, Float[np.ndarray, "..."]]:
        heads = super()._made(text, watched)
        if watched is not None and watched.frames is not None:
            return heads | {"states": watched.frames}
        return heads | ({"states": text[None]} if text is not None else {})

    @cached_property
    def _blank_frame(self) -> Float[np.ndarray, " dim"]:
        return self._seen([self._blank])[0]["embedding"]

    def _watch(self, videos: Sequence[Sequence[Image]]) -> list[Watched]:
        watched = []
        for start in range(0, len(videos), MOST):
            frames = [self._frames(video) for video in videos[start : start + MOST]]
            made = self._sessions["video"].run(self._padded(frames))["embedding"]
            watched += [Watched(row.copy(), own) for row, own in zip(made, frames, strict=True)]
        return watched

    def _frames(self, video: Sequence[Image]) -> Float[np.ndarray, "frames dim"]:
        return np.stack([seen["embedding"] for seen in self._look(video)])

    def _padded(
        self, videos: Sequence[Float[np.ndarray, "_ dim"]]
    ) -> dict[str, Float[np.ndarray, "videos frames ..."]]:
        """The `video` graph's inputs: missing frames come last and are masked."""
        filled = self._rule.filled
        longest = self._rule.most if filled else max(map(len, videos))
        frames = np.zeros((len(videos), longest, self._recipe.dim), dtype=np.float32)
        mask = np.zeros((len(videos), longest), dtype=np.int64)
        for row, own in enumerate(videos):
            frames[row, : len(own)] = own
            mask[row, : len(own)] = 1
            if filled and len(own) < longest:
                frames[row, len(own) :] = self._blank_frame
        return {"frames": frames, "mask": mask}


def pictures(content: Content) -> Sequence[Image] | None:
    """A content's frames, or its picture as the only one; None if it has neither."""
    if content.frames:
        return content.frames
    return None if content.image is None else (content.image,)
