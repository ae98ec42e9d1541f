"""Fits a picture of any kind into the square that a vision tower reads.

The rule is part of a tower's recipe: training and serving both call `fit`, so that they agree to
the last pixel. Knows pillow and numpy, and nothing of models.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

WHITE = (255, 255, 255)


def fit(image: Image.Image, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The whole picture in a white square, its aspect kept.

    The first frame, turned as its EXIF tag says, is laid on white, resized (bicubic with the
    filter widened to the scale, so nothing aliases) until its longer side is `size` pixels, and
    centred; an odd pixel of padding goes right or below. Small pictures are enlarged.

    Args:
        image: Any pillow picture: palette, grey, 16 bits, CMYK, animated, with alpha or without.
        size: The side of the square, in pixels.

    Returns:
        RGB, height by width by channel.
    """
    flat = opaque(image)
    square = Image.new("RGB", (size, size), WHITE)
    small = flat.resize(scaled(flat.size, size), Image.Resampling.BICUBIC)
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return np.asarray(square, dtype=np.uint8)


def scaled(sides: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height in pixels once the longer one is `size`; neither is ever 0."""
    longer = max(sides)
    width, height = (max(1, round(side * size / longer)) for side in sides)
    return width, height


def opaque(image: Image.Image) -> Image.Image:
    """The first frame as RGB on white, turned as its EXIF orientation says."""
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = grey(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (*WHITE, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def grey(image: Image.Image) -> Image.Image:
    """A picture of more than 8 bits as 8 bits.

    Integer pictures are 16 bits deep, whatever pillow stores them in; a float picture's scale is
    unknown, so its own range is stretched.
    """
    values: Float[np.ndarray, "height width"] = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        values = values - values.min()
        top = values.max() or 1.0
    else:
        top = 65535.0
    return Image.fromarray(np.clip(values * 255 / top, 0, 255).round().astype(np.uint8))
