"""Makes a served folder of a ColPali checkpoint: whole, an adapter, or the library's port."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.export.lora import CONFIG
from tamis.models.export.prompted import Cases, built, config_of, outer_config, write
from tamis.models.networks.decoder import Decoder
from tamis.models.networks.paligemma import Vision, shape_of
from tamis.models.networks.prompted import MultiVector
from tamis.models.runtimes.prompted import PromptedRecipe
from tamis.models.runtimes.transform import HALF, ImageTransform

DIM = 128
AUGMENTATIONS = 10  # tokens after a query that stand for nothing, to think with
WORDS = 512  # tokens of a text, and more than a page's prompt has
IMAGE_TOKEN = "<image>"  # noqa: S105 - a token of a vocabulary
WRAPPERS = re.compile(r"^(?:(?:base_model|vlm|model)\.)+")
NAMES = {
    "language_model.model.": "language_model.",
    "vision_tower.vision_model.": "visual.tower.",
    "vision_tower.": "visual.tower.",
    "multi_modal_projector.linear.": "visual.projector.",
    "embedding_proj_layer.": "custom_text_proj.",
}


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is a ColPali."""
    return calls_itself(checkpoint, "colpali")


def calls_itself(checkpoint: Checkpoint, name: str) -> bool:
    """Whether a checkpoint's configuration, or the base of an adapter, has the model's name."""
    said = [checkpoint.config.get("model_type"), *checkpoint.config.get("architectures", [])]
    base = str(checkpoint.table(CONFIG).get("base_model_name_or_path", ""))
    return any(str(kind).lower().startswith(name) for kind in said) or name in base


def export(checkpoint: Checkpoint, draft: Draft) -> PromptedRecipe:
    """Writes the graphs; `query_prefix` is a setting, because versions of the authors' code differ.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    dim = dim_of(checkpoint)
    model = built(
        checkpoint,
        lambda said: MultiVector(Vision(said), Decoder(shape_of(said["text_config"])), dim),
        renamed,
    )
    vision: Mapping[str, Any] = config_of(checkpoint)["vision_config"]
    side, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    transform = ImageTransform(resize="stretch", height=side, width=side, mean=HALF, std=HALF)
    image_tokens = (side // patch) ** 2
    recipe = PromptedRecipe(
        name=draft.name(checkpoint),
        method="colpali",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=dim,
        width=model.language_model.shape.width,
        max_tokens=image_tokens + WORDS,
        image_token=IMAGE_TOKEN,
        templates=templates(checkpoint, draft),
        image_tokens=image_tokens,
        transform=transform,
    )
    write(draft, checkpoint, model, recipe, image_cases(transform), {"pixels": {0: "images"}})
    return recipe


def templates(checkpoint: Checkpoint, draft: Draft) -> dict[str, str]:
    """The prompts, which the library's port and the authors' own code build differently.

    The authors' page has two <bos>: their prompt brings one, and the processor adds another.
    """
    port = ported(checkpoint)
    prefix = draft.options.settings.get("query_prefix", "Question: " if port else "")
    text = f"<bos>{prefix}{{text}}{'<pad>' * AUGMENTATIONS}" + ("\n" if port else "")
    page = f"{IMAGE_TOKEN}<bos>{'' if port else '<bos>'}Describe the image.\n"
    of_kind = {"text": text, "image": page, "both": page}
    return {f"{side}_{kind}": of_kind[kind] for side in ("query", "document") for kind in of_kind}


def ported(checkpoint: Checkpoint) -> bool:
    """Whether it is the library's own port, and not the authors' checkpoint."""
    return "vlm_config" in outer_config(checkpoint)


def dim_of(checkpoint: Checkpoint) -> int:
    """The length of a vector."""
    found = outer_config(checkpoint).get("embedding_dim", DIM)
    if not isinstance(found, int):
        raise ModelError(f"{checkpoint.name}: config.json: embedding_dim: {found!r}, not a number")
    return found


def renamed(key: str) -> str | None:
    """A checkpoint's key under the network's name, whichever library version wrote it."""
    key = WRAPPERS.sub("", key)
    if key.startswith(("lm_head.", "language_model.lm_head.")) or key.endswith(
        ("inv_freq", "position_ids")
    ):
        return None  # the words' weights once more, or what follows from the configuration
    for theirs, ours in NAMES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def image_cases(transform: ImageTransform) -> Cases:
    """Inputs of the tower: two drawn pictures, and random ones."""
    random, size = torch.Generator().manual_seed(0), (3, transform.height, transform.width)
    slope = Image.linear_gradient("L").convert("RGB")
    real = torch.stack([torch.from_numpy(transform(p)) for p in (slope, slope.rotate(90))])
    drawn = [torch.randn(count, *size, generator=random) for count in (2, 1)]
    return Cases([{"pixels": real}], [{"pixels": pixels} for pixels in drawn])
