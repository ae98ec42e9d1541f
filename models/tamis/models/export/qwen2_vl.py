"""What the exporters of Qwen2-VL's descendants share: its names, its patches and its sizes."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.prompted import Cases, sized
from tamis.models.networks.qwen2_vl import VisionShape, shapes
from tamis.models.runtimes.patches import Patching

WRAPPERS = re.compile(r"^(?:(?:base_model|vlm|model)\.)+")
LANGUAGE = ("embed_tokens.", "layers.", "norm.")
IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105 - a token of a vocabulary
FRAMED = f"<|vision_start|>{IMAGE_TOKEN}<|vision_end|>"
IMAGE_DYNAMIC: Mapping[str, Mapping[int, str]] = {
    "patches": {0: "images", 1: "patches"},
    "places": {0: "images", 1: "patches"},
    "patch_mask": {0: "images", 1: "patches"},
}


def renamed(key: str) -> str | None:
    """A checkpoint's key under the network's name, whichever library version wrote it."""
    key = WRAPPERS.sub("", key)
    if key.startswith(("lm_head.", "language_model.lm_head.")) or key.endswith("inv_freq"):
        return None  # the words' weights once more, or what follows from the configuration
    key = key.replace("language_model.model.", "language_model.", 1)
    if key.startswith(LANGUAGE):
        return f"language_model.{key}"
    return key.replace("embedding_proj_layer.", "custom_text_proj.", 1)


def patching_of(
    checkpoint: Checkpoint,
    shape: VisionShape,
    *,
    least: int = 4,
    most: int = 1280,
    stored: bool = True,
    side: int = 0,
) -> Patching:
    """How a checkpoint's pictures are cut.

    Args:
        checkpoint: Whose `preprocessor_config.json` says it, where it has one.
        shape: Of the tower.
        least: Visual tokens of the smallest picture, unless the file bounds it.
        most: Visual tokens of the largest picture, unless the file bounds it.
        stored: Whether the file's bounds are those that the model is used with.
        side: See `Patching`.
    """
    said = checkpoint.table("preprocessor_config.json")
    token = (shape.patch * shape.merge) ** 2
    size: Mapping[str, Any] = said.get("size") or {}
    low = said.get("min_pixels", size.get("shortest_edge")) if stored else None
    high = said.get("max_pixels", size.get("longest_edge")) if stored else None
    plain = Patching()
    return Patching(
        patch=shape.patch,
        merge=shape.merge,
        frames=shape.frames,
        min_pixels=low or least * token,
        max_pixels=high or most * token,
        mean=tuple(said.get("image_mean", plain.mean)),
        std=tuple(said.get("image_std", plain.std)),
        side=side,
    )


def image_cases(patching: Patching, shape: VisionShape) -> Cases:
    """Inputs of the tower: two pictures of different grids, and random ones, some padded."""
    random, step = torch.Generator().manual_seed(0), shape.merge**2
    values = shape.channels * shape.frames * shape.patch**2
    drawn = []
    for images, patches in ((2, 6 * step), (1, step), (3, 2 * step)):
        mask = torch.ones(images, patches, dtype=torch.long)
        mask[-1, max(step, patches // 2) :] = 0
        drawn.append(
            {
                "patches": torch.randn(images, patches, values, generator=random),
                "places": torch.randint(0, 9, (images, patches, 2), generator=random),
                "patch_mask": mask,
            }
        )
    side = 3 * shape.patch * shape.merge
    least = (shape.patch * shape.merge) ** 2
    small = replace(patching, side=0, min_pixels=least, max_pixels=2 * side**2)
    tall = Image.linear_gradient("L").resize((side, 2 * side)).convert("RGB")
    pictures = [tall, tall.rotate(90, expand=True)]
    cut = [torch.from_numpy(small.patches(picture)) for picture in pictures]
    places = [torch.from_numpy(small.places(small.grid(picture))) for picture in pictures]
    mask = torch.ones(len(cut), len(cut[0]), dtype=torch.long)
    real = {"patches": torch.stack(cut), "places": torch.stack(places), "patch_mask": mask}
    return Cases([real], drawn)


def vision_of(checkpoint: Checkpoint) -> VisionShape:
    """The sizes of a checkpoint's vision tower.

    Raises:
        ModelError: The configuration lacks one, or is of another kind.
    """
    return sized(checkpoint, lambda config: shapes(config)[0])
