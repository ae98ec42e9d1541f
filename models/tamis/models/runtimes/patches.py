"""Cuts pictures into Qwen2-VL's patches, at near their own size, and numbers what is cut.

A picture is resized to a multiple of the side of a visual token, within bounds of its area, and
never cropped. Knows numpy and pillow; of models only how they count positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

import numpy as np
from jaxtyping import Float, Int
from PIL.Image import Image, Resampling

Grid = tuple[int, int]  # rows and columns of patches


@dataclass(frozen=True, slots=True, kw_only=True)
class Patching:
    """How a picture becomes patches, as `model.toml` says it.

    Attributes:
        patch: Height and width of a patch, in pixels.
        merge: Patches along each side of the square that one visual token is made of.
        frames: How often a still picture is repeated, for a tower that reads film.
        min_pixels: A smaller picture is enlarged to this area.
        max_pixels: A larger picture is reduced to this area.
        mean: Of each channel, from 0 to 1.
        std: Of each channel.
        side: The height and width that pictures larger than one visual token are first given, in
            pixels; 0 for their own.
    """

    patch: int = 14
    merge: int = 2
    frames: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    side: int = 0

    def __post_init__(self) -> None:
        least = (self.patch * self.merge) ** 2
        if not least <= self.min_pixels <= self.max_pixels:
            raise ValueError(
                f"min_pixels and max_pixels: {self.min_pixels} and {self.max_pixels}, where a "
                f"visual token is {least} pixels"
            )

    @property
    def max_patches(self) -> int:
        """The most patches that a picture becomes."""
        return max(self.max_pixels // self.patch**2, self.merge**2)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The width and height, in pixels, that a picture is resized to."""
        unit = self.patch * self.merge
        if self.side and max(width, height) > unit:
            width = height = self.side
        near = (max(unit, round(width / unit) * unit), max(unit, round(height / unit) * unit))
        if near[0] * near[1] > self.max_pixels:
            shrink = sqrt(width * height / self.max_pixels)
            return _cut(width / shrink, unit), _cut(height / shrink, unit)
        if near[0] * near[1] < self.min_pixels:
            grow = sqrt(self.min_pixels / (width * height))
            return ceil(width * grow / unit) * unit, ceil(height * grow / unit) * unit
        return near

    def grid(self, image: Image) -> Grid:
        """The rows and columns of patches that a picture becomes."""
        width, height = self.size(*image.size)
        return height // self.patch, width // self.patch

    def patches(self, image: Image) -> Float[np.ndarray, "patches values"]:
        """A picture's patches: those of one visual token follow each other.

        Args:
            image: In mode RGB.
        """
        resized = image.resize(self.size(*image.size), Resampling.BICUBIC)
        pixels = np.asarray(resized, dtype=np.float32) * np.float32(1 / 255)
        mean, std = (np.array(of, dtype=np.float32) for of in (self.mean, self.std))
        pixels = (pixels - mean) / std
        rows, columns = (side // (self.patch * self.merge) for side in pixels.shape[:2])
        cut = pixels.reshape(rows, self.merge, self.patch, columns, self.merge, self.patch, 3)
        # Token row and column, patch row and column in it, then channel and pixel row and column.
        still = cut.transpose(0, 3, 1, 4, 6, 2, 5)[:, :, :, :, :, None]
        film = np.broadcast_to(still, (*still.shape[:5], self.frames, *still.shape[6:]))
        return film.reshape(rows * columns * self.merge**2, -1)

    def places(self, grid: Grid) -> Int[np.ndarray, "patches 2"]:
        """The row and column of each patch, in the order of `patches`."""
        rows, columns = np.indices(grid)
        return np.stack([_in_squares(axis, self.merge) for axis in (rows, columns)], axis=-1)

    def tokens(self, grid: Grid) -> int:
        """How many visual tokens a grid becomes."""
        return grid[0] * grid[1] // self.merge**2


def rope_positions(
    visual: Sequence[bool], grids: Sequence[Grid], merge: int
) -> Int[np.ndarray, "3 length"]:
    """Where each token of a prompt is, in time, rows and columns.

    Words count on along all three at once. A picture's tokens stand at one time, in rows and
    columns from there, and the word after it goes on behind the longest of its sides.

    Args:
        visual: Whether each token is a picture's.
        grids: The patches of each picture, in order; their tokens fill the places of `visual`.
        merge: Patches along each side of a visual token's square.
    """
    positions = np.zeros((3, len(visual)), dtype=np.int64)
    left, at, next_one = iter(grids), 0, 0
    while at < len(visual):
        if not visual[at]:
            positions[:, at] = next_one
            at, next_one = at + 1, next_one + 1
            continue
        rows, columns = (side // merge for side in next(left))
        count = rows * columns
        order = np.indices((1, rows, columns)).reshape(3, count)
        positions[:, at : at + count] = next_one + order
        at, next_one = at + count, next_one + max(rows, columns)
    return positions


def _in_squares(values: Int[np.ndarray, "rows columns"], merge: int) -> Int[np.ndarray, " n"]:
    rows, columns = values.shape
    squares = values.reshape(rows // merge, merge, columns // merge, merge)
    return squares.transpose(0, 2, 1, 3).reshape(-1)


def _cut(pixels: float, unit: int) -> int:
    return max(unit, floor(pixels / unit) * unit)
