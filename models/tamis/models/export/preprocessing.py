"""How a checkpoint's pictures are prepared, from the file that says so beside the weights."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.runtimes.transform import CLIP_MEAN, CLIP_STD, RESAMPLES, ImageTransform

FILTERS = {int(filter_): name for name, filter_ in RESAMPLES.items()}
OPEN_CLIP = {"shortest": "shortest", "squash": "stretch", "longest": "pad"}


def transform(checkpoint: Checkpoint, side: int) -> ImageTransform:
    """The rule of transformers' `preprocessor_config.json`, of open_clip's, or OpenAI's own.

    Args:
        checkpoint: Where the file would be.
        side: Of the square that the tower reads, in pixels.

    Raises:
        ModelError: The file says what no rule of ours is.
    """
    if said := checkpoint.table("preprocessor_config.json"):
        made = of_transformers(said, side)
    else:
        said = checkpoint.table("open_clip_config.json").get("preprocess_cfg", {})
        made = of_open_clip(said, side)
    if (made.height, made.width) != (side, side):
        raise ModelError(
            f"{checkpoint.name}: pictures of {made.height} x {made.width} pixels, and the tower "
            f"reads {side} x {side}"
        )
    return made


def of_transformers(said: Mapping[str, Any], side: int) -> ImageTransform:
    """A `preprocessor_config.json`'s rule."""
    size, crop = said.get("size", side), said.get("crop_size", side)
    colour: dict[str, Any] = {
        "mean": tuple(said.get("image_mean", CLIP_MEAN)),
        "std": tuple(said.get("image_std", CLIP_STD)),
        "resample": FILTERS[said.get("resample", Image.Resampling.BICUBIC)],
    }
    if isinstance(size, Mapping) and "shortest_edge" not in size:
        return ImageTransform(
            resize="stretch", height=size["height"], width=size["width"], **colour
        )
    cut = crop if isinstance(crop, Mapping) else {"height": crop, "width": crop}
    edge = size["shortest_edge"] if isinstance(size, Mapping) else size
    return ImageTransform(
        resize="shortest",
        height=cut["height"],
        width=cut["width"],
        edge=None if edge == min(cut.values()) else edge,
        **colour,
    )


def of_open_clip(said: Mapping[str, Any], side: int) -> ImageTransform:
    """A `preprocess_cfg`'s rule; OpenAI's where it says nothing."""
    return ImageTransform(
        resize=OPEN_CLIP[said.get("resize_mode", "shortest")],
        height=side,
        width=side,
        mean=tuple(said.get("mean", CLIP_MEAN)),
        std=tuple(said.get("std", CLIP_STD)),
        resample=said.get("interpolation", "bicubic"),
        centre="even",
    )
