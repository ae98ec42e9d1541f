"""BLIP's weights as UniIR publishes them, with the momentum copies and queues of training."""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor
from transformers import BlipTextConfig

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import Hints, size_of, vision_shape
from tamis.models.export.draft import Draft
from tamis.models.networks.uniir import Blip
from tamis.models.runtimes.towers import TextRule, TowersRecipe
from tamis.models.runtimes.transform import ImageTransform

TRAINING = (
    "visual_encoder_m.*",
    "text_encoder_m.*",
    "vision_proj_m.*",
    "text_proj_m.*",
    "query_queue",
    "cand_queue",
    "idx_queue",
    "new_ptr_queue",
    "temp",
    "text_encoder.embeddings.position_ids",
)
VISION, TEXT = "visual_encoder.", "text_encoder."
MAX_TOKENS = 100  # that UniIR reads of a text
HEAD_WIDTH = 64
RENAMES = {  # from timm's names to CLIP's
    "blocks.": "transformer.resblocks.",
    ".attn.qkv.": ".attn.in_proj_",
    ".attn.proj.": ".attn.out_proj.",
    ".norm1.": ".ln_1.",
    ".norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    "patch_embed.proj.": "conv1.",
    "cls_token": "class_embedding",
    "pos_embed": "positional_embedding",
}


def blip(checkpoint: Checkpoint, settings: Mapping[str, str], *, projected: bool) -> Blip:
    """Both encoders with their weights.

    Args:
        checkpoint: UniIR's; the `config.json` of its text encoder may lie beside the weights.
        settings: `vision_heads` and `text_heads`; by default one each 64 of the width.
        projected: Whether each has a projection into one space.

    Raises:
        ModelError: A key is missing, unknown or of another shape.
    """
    tensors = {key: without_batch(key, tensor) for key, tensor in checkpoint.tensors().items()}
    sizes = {name(key): tensor for key, tensor in tensors.items()}
    said = Hints(vision_heads=int(settings.get("vision_heads", 0)), activation="gelu", epsilon=1e-6)
    vision = replace(
        vision_shape(sizes, said, prefix=VISION),
        dim=0,
        pre_norm=False,
        patch_bias=True,
        fused=False,
    )
    text = text_config(checkpoint, sizes, settings, vision.width)
    dim = size_of(sizes, "vision_proj.weight", 2)[0] if projected else 0
    network = Blip(vision, text, dim)
    load(network, tensors, rename=name, ignore=TRAINING)
    return network


def without_batch(key: str, tensor: Tensor) -> Tensor:
    """The class token and the positions without their leading axes of one."""
    if key == f"{VISION}cls_token":
        return tensor.reshape(-1)
    return tensor[0] if key == f"{VISION}pos_embed" else tensor


def name(key: str) -> str:
    """From the checkpoint's names to the network's."""
    if not key.startswith(VISION):
        return key
    own = key.removeprefix(VISION)
    if own.startswith("norm."):
        own = own.replace("norm.", "ln_post.", 1)
    for old, new in RENAMES.items():
        own = own.replace(old, new)
    return VISION + own


def text_config(
    checkpoint: Checkpoint, sizes: Mapping[str, Tensor], settings: Mapping[str, str], width: int
) -> BlipTextConfig:
    """The text encoder's sizes by its tensors; its heads by `config.json` or the settings.

    Raises:
        ModelError: A tensor that tells one is missing.
    """
    vocabulary, hidden = size_of(sizes, f"{TEXT}embeddings.word_embeddings.weight", 2)
    heads = checkpoint.config.get("num_attention_heads", hidden // HEAD_WIDTH)
    found = re.compile(rf"{TEXT}encoder\.layer\.(\d+)\.")
    layers = {match[1] for key in sizes if (match := found.match(key))}
    inner = size_of(sizes, f"{TEXT}encoder.layer.0.intermediate.dense.weight", 2)[0]
    return BlipTextConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        encoder_hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=len(layers),
        num_attention_heads=int(settings.get("text_heads", heads)),
        max_position_embeddings=size_of(sizes, f"{TEXT}embeddings.position_embeddings.weight", 2)[
            0
        ],
        layer_norm_eps=checkpoint.config.get("layer_norm_eps", 1e-12),
        is_decoder=True,  # so that it has cross-attention; it is run as an encoder
        bos_token_id=None,
        sep_token_id=None,
        pad_token_id=0,
        eos_token_id=None,
    )


def recipe(
    checkpoint: Checkpoint, draft: Draft, network: Blip, *, method: str, dim: int
) -> TowersRecipe:
    """UniIR's reading of texts, and of pictures, which are made squares whatever their aspect.

    Args:
        checkpoint: Whose weights they are.
        draft: Where its graphs go.
        network: Both encoders.
        method: What serves them.
        dim: The length of a vector.
    """
    limit = min(MAX_TOKENS, network.text_encoder.config.max_position_embeddings)
    shape = network.visual_encoder.shape
    side = shape.grid[0] * shape.patch
    return TowersRecipe(
        name=draft.name(checkpoint),
        method=method,
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=dim,
        text=TextRule(max_tokens=limit, masked=True, sentence=True, instructed=True),
        image=ImageTransform(resize="stretch", height=side, width=side),
        grid=shape.grid,
    )
