"""Turns a picture into the numbers that a vision tower reads, by the rule it was trained with.

The rule is data in a `model.toml`: resize and crop, filter, mean and deviation. Equal to the
reference processors of CLIP, SigLIP and BLIP to the last bit; knows pillow and numpy only.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tamis.models.errors import ImageError
from tamis.models.runtimes.fit import opaque

RULES = ("shortest", "stretch", "pad")
CENTRES = ("down", "even")
RESAMPLES = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
DEEP = ("I", "F")  # how the modes of more than 8 bits begin
ORIENTATION = 0x0112  # the EXIF tag
ROOM = 16  # crops that a resized picture may be as large as before only the crop is made


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """What is done to a picture before a vision tower reads it.

    Attributes:
        resize: ``shortest`` (the shorter side to `edge`, then the centre is cut out), ``stretch``
            (straight to the size, whatever the aspect) or ``pad`` (as large as fits, centred).
        height: Of what the tower reads, in pixels.
        width: Of what the tower reads, in pixels.
        mean: Of each channel, where white is 1; it is subtracted.
        std: Of each channel; it divides.
        resample: The filter: ``bicubic``, ``bilinear``, ``lanczos`` or ``nearest``; all are
            widened to the scale, so nothing aliases.
        edge: The shorter side before the centre is cut out, in pixels; by default the crop's.
        centre: Where an odd margin's half pixel goes: ``down``, as transformers cuts, or to the
            ``even`` side, as torchvision does.
        fill: The colour beside a picture under ``pad``.
    """

    resize: str
    height: int
    width: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: str = "bicubic"
    edge: int | None = None
    centre: str = "down"
    fill: tuple[int, ...] = (0, 0, 0)

    def __post_init__(self) -> None:
        named = {"resize": RULES, "resample": tuple(RESAMPLES), "centre": CENTRES}
        for key, known in named.items():
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"{key} must be one of {', '.join(known)}, not {value!r}")
        for key in ("mean", "std", "fill"):
            if len(value := getattr(self, key)) != 3:
                raise ValueError(f"{key} must have 3 channels, not {len(value)}")
        if min(self.height, self.width, self._edge) < 1 or min(self.std) <= 0:
            raise ValueError("height, width, edge and std must be above 0")
        if self._edge < max(self.height, self.width) and self.resize == "shortest":
            raise ValueError(f"edge must cover {self.height} x {self.width}, not {self._edge}")

    def __call__(self, image: Image.Image) -> Float[np.ndarray, "3 height width"]:
        """The picture as the tower reads it.

        Args:
            image: Of 8 bits a channel in a mode of `MODES`, or a grey one of more. Transparent
                parts are laid on white, and an EXIF orientation is followed.

        Raises:
            ImageError: Its mode is another.
        """
        values = self.pixels(image).transpose(2, 0, 1)
        return np.stack(
            [table[channel] for table, channel in zip(self._tables, values, strict=True)]
        )

    def pixels(self, image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
        """The picture at the tower's size, not yet scaled."""
        flat = _rgb(image)
        made = {"shortest": self._cut, "stretch": self._stretched, "pad": self._padded}[self.resize]
        return np.asarray(made(flat), dtype=np.uint8)

    def larger(self, scale: int) -> "ImageTransform":
        """The rule that frames a picture in the same way, `scale` times as large."""
        edge = None if self.edge is None else scale * self.edge
        return replace(self, height=scale * self.height, width=scale * self.width, edge=edge)

    @property
    def _edge(self) -> int:
        return self.edge if self.edge is not None else min(self.height, self.width)

    @property
    def _filter(self) -> Image.Resampling:
        return RESAMPLES[self.resample]

    @cached_property
    def _tables(self) -> Float[np.ndarray, "3 256"]:
        """What each of a channel's 256 values becomes."""
        shares = (np.arange(256) * (1 / 255)).astype(np.float32)
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        return (shares - mean[:, None]) / std[:, None]

    def _stretched(self, image: Image.Image) -> Image.Image:
        return image.resize((self.width, self.height), self._filter)

    def _padded(self, image: Image.Image) -> Image.Image:
        scale = min(self.width / image.width, self.height / image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        canvas = Image.new("RGB", (self.width, self.height), self.fill)
        left, top = (self.width - size[0]) // 2, (self.height - size[1]) // 2
        canvas.paste(image.resize(size, self._filter), (left, top))
        return canvas

    def _cut(self, image: Image.Image) -> Image.Image:
        short = min(image.size)
        width, height = (
            self._edge if side == short else int(self._edge * side / short) for side in image.size
        )
        left, top = self._margin(width - self.width), self._margin(height - self.height)
        box = (left, top, left + self.width, top + self.height)
        if width * height <= ROOM * self.width * self.height:
            return image.resize((width, height), self._filter).crop(box)
        # A long thin picture would become millions of pixels, of which the crop shows a few.
        across, down = image.width / width, image.height / height
        source = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        return image.resize((self.width, self.height), self._filter, box=source)

    def _margin(self, excess: int) -> int:
        return excess // 2 if self.centre == "down" else round(excess / 2)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode not in MODES and not image.mode.startswith(DEEP):
        raise ImageError(f"a picture of mode {image.mode}: known are {', '.join((*MODES, *DEEP))}")
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return opaque(image) if turned or image.mode != "RGB" or image.has_transparency_data else image
