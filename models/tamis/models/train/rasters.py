"""Pictures for training as arrays of one size, and which of them show what is held out."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from tamis.models.runtimes.fit import fit, scaled

SIZE = 96
# Mean absolute difference of two 16 x 16 thumbnails (0 to 255) under which they are one picture.
SAME = 17.0


class Job(NamedTuple):
    """A picture to rasterise: a file, the text of an SVG, or a glyph of a font."""

    source: str
    captions: tuple[str, ...]
    path: str = ""
    svg: str = ""
    glyph: str = ""
    outline: bool = False


def rasterised(job: Job) -> UInt8[np.ndarray, "96 96 4"] | None:
    """The picture cropped to what is drawn, its longer side 96 pixels; None if unreadable.

    Stamps keep their margins, as `fit` does when they are searched for.
    """
    try:
        image = drawn(job).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    box = image.getbbox(alpha_only=True)
    if box is None:
        return None
    if job.source in ("held_out", "validation", "stamps"):
        box = (0, 0, *image.size)
    small = image.crop(box)
    small = small.resize(scaled(small.size, SIZE), Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 0))
    square.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    pixels = np.array(square)
    pixels[pixels[..., 3] == 0] = (255, 255, 255, 0)
    return pixels


def drawn(job: Job) -> Image.Image:
    """The picture at a few times the size it is kept in."""
    if job.glyph:
        font = ImageFont.truetype(job.path, 2 * SIZE)
        image = Image.new("RGBA", (4 * SIZE, 4 * SIZE), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        if job.outline:
            draw.text((SIZE, SIZE), job.glyph, "white", font, stroke_width=6, stroke_fill="black")
        else:
            draw.text((SIZE, SIZE), job.glyph, "black", font)
        return image
    if job.svg or job.path.endswith(".svg"):
        from resvg_py import svg_to_bytes

        text = job.svg or Path(job.path).read_text(encoding="utf-8", errors="replace")
        return Image.open(io.BytesIO(bytes(svg_to_bytes(svg_string=text, width=3 * SIZE, dpi=96))))
    return Image.open(job.path)


def unlike_held_out(
    pixels: UInt8[np.ndarray, "pictures height width 4"], sources: list[str]
) -> Int[np.ndarray, " kept"]:
    """The indices of the pictures that may be used.

    A picture whose thumbnail, or its mirror image, is that of a held-out stamp is left out, and
    so is a training picture that is like a validation stamp.
    """
    thumbnails = np.stack([thumbnail(picture) for picture in pixels])
    mirrored = thumbnails.reshape(-1, 16, 16, 3)[:, :, ::-1].reshape(len(thumbnails), -1)
    side = np.array([{"held_out": 0, "validation": 1}.get(source, 2) for source in sources])
    keep = np.ones(len(pixels), dtype=bool)
    for guarded in (0, 1):
        for seen in thumbnails[side == guarded]:
            for other in (thumbnails, mirrored):
                keep[(side > guarded) & (np.abs(other - seen).mean(1) < SAME)] = False
    return np.flatnonzero(keep)


def thumbnail(picture: UInt8[np.ndarray, "height width 4"]) -> Float[np.ndarray, " 768"]:
    """16 x 16 RGB of what is drawn, stretched to the square; on white."""
    image = Image.fromarray(picture)
    box = image.getbbox(alpha_only=True) or (0, 0, *image.size)
    flat = fit(image.crop(box).resize((16, 16), Image.Resampling.BOX), 16)
    return flat.astype(np.float32).reshape(-1)
