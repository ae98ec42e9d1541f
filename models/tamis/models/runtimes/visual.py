"""Runs vision towers: pictures to the visual tokens that stand among a prompt's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from PIL.Image import Image

from tamis.models.blocks.batches import MOST, alike
from tamis.models.runtimes import Session
from tamis.models.runtimes.patches import Patching, rope_positions
from tamis.models.runtimes.transform import ImageTransform

ROOM = 8192  # patches that one run reads, which bounds its memory


@runtime_checkable
class Seer(Protocol):
    """What makes visual tokens, and says where they stand."""

    @property
    def axes(self) -> int:
        """Of a position."""
        ...

    def count(self, image: Image) -> int:
        """How many visual tokens a picture becomes."""
        ...

    def tokens(self, images: Sequence[Image]) -> list[Float[np.ndarray, "tokens width"]]:
        """The visual tokens of each picture."""
        ...

    def positions(
        self, visual: Sequence[bool], images: Sequence[Image]
    ) -> Int[np.ndarray, "axes length"]:
        """Where each token of a prompt is, whose pictures fill the places of `visual`."""
        ...


@dataclass(frozen=True, slots=True)
class PatchSeer:
    """Reads pictures near their own size, as patches.

    Attributes:
        session: The tower's graph.
        patching: How a picture is cut.
        axes: Of a position: time, row, column.
    """

    session: Session
    patching: Patching
    axes: int = 3

    def count(self, image: Image) -> int:
        return self.patching.tokens(self.patching.grid(image))

    def tokens(self, images: Sequence[Image]) -> list[Float[np.ndarray, "tokens width"]]:
        grids = [self.patching.grid(image) for image in images]
        lengths = np.array([rows * columns for rows, columns in grids], dtype=np.int64)
        found: dict[int, np.ndarray] = {}
        for group in map(np.ndarray.tolist, alike(lengths, room=ROOM)):
            inputs = self._inputs([images[i] for i in group], int(max(lengths[group])))
            for i, tokens in zip(group, self.session.run(inputs)["tokens"], strict=True):
                found[i] = tokens[: self.patching.tokens(grids[i])]
        return [found[i] for i in range(len(images))]

    def positions(
        self, visual: Sequence[bool], images: Sequence[Image]
    ) -> Int[np.ndarray, "3 length"]:
        grids = [self.patching.grid(image) for image in images]
        return rope_positions(visual, grids, self.patching.merge)

    def _inputs(self, images: Sequence[Image], longest: int) -> dict[str, np.ndarray]:
        made = [self.patching.patches(image) for image in images]
        patches = np.zeros((len(made), longest, made[0].shape[1]), dtype=np.float32)
        places = np.zeros((len(made), longest, 2), dtype=np.int64)
        patch_mask = np.zeros((len(made), longest), dtype=np.int64)
        for row, (own, image) in enumerate(zip(made, images, strict=True)):
            patches[row, : len(own)] = own
            places[row, : len(own)] = self.patching.places(self.patching.grid(image))
            patch_mask[row, : len(own)] = 1
        return {"patches": patches, "places": places, "patch_mask": patch_mask}


@dataclass(frozen=True, slots=True)
class SquareSeer:
    """Reads every picture at one size.

    Attributes:
        session: The tower's graph.
        transform: How a picture comes to that size.
        each: The visual tokens of one picture.
        axes: Of a position: words and pictures are counted alike.
    """

    session: Session
    transform: ImageTransform
    each: int
    axes: int = 1

    def count(self, image: Image) -> int:
        return self.each

    def tokens(self, images: Sequence[Image]) -> list[Float[np.ndarray, "tokens width"]]:
        at_once = max(1, min(MOST, ROOM // self.each))
        found: list[np.ndarray] = []
        for start in range(0, len(images), at_once):
            pixels = np.stack([self.transform(image) for image in images[start : start + at_once]])
            found += list(self.session.run({"pixels": pixels})["tokens"])
        return found

    def positions(
        self, visual: Sequence[bool], images: Sequence[Image]
    ) -> Int[np.ndarray, "1 length"]:
        """Counted from 1."""
        return np.arange(1, len(visual) + 1)[None]
