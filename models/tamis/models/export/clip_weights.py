"""CLIP's weights as the field publishes them: OpenAI's and open_clip's names, and transformers'.

A checkpoint's tensors tell nearly all sizes; the heads and the activation are read from whichever
configuration lies beside them, and are OpenAI's where none does.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import CLIPConfig

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.networks.clip import ClipTowers, TextShape, VisionShape

HEAD_WIDTH = 64  # of OpenAI's towers
UNREAD = (  # sizes, buffers, and what only the loss needs
    "*input_resolution",
    "*context_length",
    "*vocab_size",
    "*logit_scale",
    "*logit_bias",
    "*attn_mask",
    "*position_ids",
)
# From transformers' names to OpenAI's.
RENAMES = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.": "text.token_embedding.",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_model.final_layer_norm.": "text.ln_final.",
    "text_model.encoder.layers.": "text.transformer.resblocks.",
    "text_projection.weight": "text.text_projection",
}
IN_LAYERS = {
    ".self_attn.": ".attn.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What tensors do not tell.

    Attributes:
        vision_heads: Attention heads of the vision tower; 0 for one each 64 of its width.
        text_heads: Attention heads of the text tower; 0 for one each 64 of its width.
        activation: Of both towers.
        epsilon: Of the layer norms.
    """

    vision_heads: int = 0
    text_heads: int = 0
    activation: str = "quick_gelu"
    epsilon: float = 1e-5


def hints(checkpoint: Checkpoint, settings: Mapping[str, str]) -> Hints:
    """What the configuration beside the weights says; `settings` say more than it."""
    vision_heads = text_heads = 0
    activation, epsilon = "quick_gelu", 1e-5
    if checkpoint.config.get("model_type") == "clip":
        config = CLIPConfig(**checkpoint.config)
        vision: Any = config.vision_config
        text: Any = config.text_config
        vision_heads, text_heads = vision.num_attention_heads, text.num_attention_heads
        activation, epsilon = vision.hidden_act, vision.layer_norm_eps
        if text.hidden_act != activation:
            raise ModelError(f"{checkpoint.name}: hidden_act: differs between the towers")
    elif model := checkpoint.table("open_clip_config.json").get("model_cfg"):
        vision_cfg, text_cfg = model.get("vision_cfg", {}), model.get("text_cfg", {})
        # Where a size is not said, it is open_clip's own default.
        vision_heads = vision_cfg.get("width", 768) // vision_cfg.get("head_width", HEAD_WIDTH)
        text_heads = text_cfg.get("heads", 8)
        activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    return Hints(
        vision_heads=int(settings.get("vision_heads", vision_heads)),
        text_heads=int(settings.get("text_heads", text_heads)),
        activation=settings.get("activation", activation),
        epsilon=epsilon,
    )


def towers(
    tensors: Mapping[str, Tensor],
    said: Hints,
    *,
    prefix: str = "",
    ignore: Collection[str] = (),
    grid: tuple[int, int] | None = None,
) -> ClipTowers:
    """Both towers with their weights.

    Args:
        tensors: The checkpoint's.
        said: What they do not tell.
        prefix: What stands before CLIP's own names.
        ignore: Keys that are not read, as `fnmatch` patterns, besides `UNREAD`.
        grid: Rows and columns of patches; where the weights have another, square one, its
            positions are interpolated. By default that of the weights, a square.

    Raises:
        ModelError: A key is missing, unknown or of another shape.
    """
    rename = openai_name(prefix)
    tensors = dict(tensors)
    if any(key.startswith("text_model.") for key in tensors):
        rename, tensors = transformers_name, joined(tensors)
    named = {rename(key): key for key in tensors}
    places = named.get("visual.positional_embedding")
    if grid and places:
        tensors[places] = resized(places, tensors[places], grid)
    sizes = {name: tensors[key] for name, key in named.items() if name is not None}
    network = ClipTowers(vision_shape(sizes, said, grid=grid), text_shape(sizes, said))
    load(network, tensors, rename=rename, ignore=(*UNREAD, *ignore))
    return network


def openai_name(prefix: str) -> Callable[[str], str | None]:
    """From OpenAI's names, which have no word for the text tower, to the network's."""

    def rename(key: str) -> str | None:
        own = key.removeprefix(prefix)
        return own if own.startswith(("visual.", "text.")) else f"text.{own}"

    return rename


def transformers_name(key: str) -> str | None:
    """From transformers' names to the network's; one that it does not know stays as it is."""
    for old, new in RENAMES.items():
        if key.startswith(old):
            key = new + key.removeprefix(old)
            for inner, ours in IN_LAYERS.items():
                key = key.replace(inner, ours)
            return key
    return key


def joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with one projection for queries, keys and values, and the last ones turned."""
    made: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if ".self_attn.q_proj." in key:
            parts = [key.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            if missing := [part for part in parts if part not in tensors]:
                raise ModelError(f"{missing[0]}: missing")
            whole = key.replace(".q_proj.", ".in_proj_")
            made[whole] = torch.cat([tensors[part] for part in parts])
        elif key in ("visual_projection.weight", "text_projection.weight"):
            made[key] = tensor.T.contiguous()
        elif not re.search(r"\.self_attn\.[kv]_proj\.", key):
            made[key] = tensor
    return made


def vision_shape(
    sizes: Mapping[str, Tensor],
    said: Hints,
    *,
    prefix: str = "visual.",
    grid: tuple[int, int] | None = None,
) -> VisionShape:
    """A vision tower's sizes by its tensors.

    Raises:
        ModelError: A tensor that tells one is missing, or the patches are no square.
    """
    width, _, patch, _ = size_of(sizes, f"{prefix}conv1.weight", 4)
    if grid is None:
        count = size_of(sizes, key := f"{prefix}positional_embedding", 2)[0] - 1
        side = math.isqrt(count)
        if side * side != count:
            raise ModelError(f"{key}: {count} patches are no square")
        grid = side, side
    projected = f"{prefix}proj" in sizes
    return VisionShape(
        width=width,
        layers=layers_in(sizes, prefix),
        heads=said.vision_heads or width // HEAD_WIDTH,
        inner=size_of(sizes, f"{prefix}transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        patch=patch,
        grid=grid,
        dim=size_of(sizes, f"{prefix}proj", 2)[1] if projected else 0,
        activation=said.activation,
        epsilon=said.epsilon,
    )


def text_shape(sizes: Mapping[str, Tensor], said: Hints) -> TextShape:
    """The text tower's sizes by its tensors.

    Raises:
        ModelError: A tensor that tells one is missing.
    """
    vocabulary, width = size_of(sizes, "text.token_embedding.weight", 2)
    projected = "text.text_projection" in sizes
    return TextShape(
        width=width,
        layers=layers_in(sizes, "text."),
        heads=said.text_heads or width // HEAD_WIDTH,
        inner=size_of(sizes, "text.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        context=size_of(sizes, "text.positional_embedding", 2)[0],
        vocabulary=vocabulary,
        dim=size_of(sizes, "text.text_projection", 2)[1] if projected else 0,
        activation=said.activation,
        epsilon=said.epsilon,
    )


def size_of(sizes: Mapping[str, Tensor], key: str, axes: int) -> tuple[int, ...]:
    """A tensor's shape.

    Raises:
        ModelError: It is missing, or has another number of axes.
    """
    if key not in sizes:
        raise ModelError(f"{key}: missing")
    shape = tuple(sizes[key].shape)
    if len(shape) != axes:
        raise ModelError(f"{key}: expected {axes} axes, got {list(shape)}")
    return shape


def layers_in(sizes: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers a tower has."""
    found = re.compile(re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    return len({match[1] for key in sizes if (match := found.match(key))})


def resized(key: str, places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings for another grid, as IRRA makes them: interpolated between neighbours.

    Raises:
        ModelError: They are of neither that grid nor a square one.
    """
    count = len(places) - 1
    if count == grid[0] * grid[1]:
        return places
    side = math.isqrt(count)
    if side * side != count:
        rows, columns = grid
        raise ModelError(f"{key}: {count} patches are neither a square nor {rows} x {columns}")
    square = places[1:].T.reshape(1, -1, side, side)
    wide = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([places[:1], wide[0].flatten(1).T])
