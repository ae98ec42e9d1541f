"""Exports VISTA: a BERT or XLM-R, an EVA-02 tower, and the projection between them.

The authors publish one file of weights; the `config.json` and the tokenizer of the BGE that it
was made of belong beside it.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import BertConfig

from tamis.models.encoders.vista import VistaRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import size_of
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import of_open_clip
from tamis.models.export.texts import put_tokenizer
from tamis.models.export.towers import joint_cases, write_joint, write_pictures
from tamis.models.networks.vista import EvaShape, Vista
from tamis.models.runtimes.towers import TextRule

UNREAD = (  # BGE's pooler, what only the loss needs, and the norm and head that VISTA goes without
    "bge_pooler.*",
    "model_visual.logit_scale",
    "model_visual.visual.norm.*",
    "model_visual.visual.head.*",
    "model_visual.visual.blocks.*.rope.*",  # the same angles again in each layer
    "bge_embeddings.position_ids",
)
VISUAL = "model_visual.visual."
HEAD_WIDTH = 64


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: its `config.json` is BGE's."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> VistaRecipe:
    """Writes the graphs `image` and `joint`, and the tokenizer.

    Settings: `vision_heads`; by default one each 64 of the tower's width.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    tensors = checkpoint.tensors()
    text = text_config(checkpoint, tensors)
    vision = eva_shape(tensors, int(draft.options.settings.get("vision_heads", 0)))
    network = Vista(text, vision)
    load(network, tensors, rename=name, ignore=UNREAD)
    put_tokenizer(checkpoint, draft)
    padding = text.pad_token_id or 0
    first = padding + 1 if multilingual(checkpoint, tensors) else 0
    rule = TextRule(max_tokens=text.max_position_embeddings - first, padding=padding, masked=True)
    pictures = of_open_clip({}, vision.grid * vision.patch)
    states = network.image()
    write_pictures(draft, states, pictures, ("states",))
    cases = joint_cases(draft, rule, states, pictures)
    write_joint(draft, network.joint(), rule, placed(cases, first), alone=True)
    return VistaRecipe(
        name=draft.name(checkpoint),
        method="vista",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=text.hidden_size,
        text=rule,
        image=pictures,
        grid=(vision.grid, vision.grid),
        first_position=first,
    )


def placed(cases: list[dict[str, Tensor]], first: int) -> list[dict[str, Tensor]]:
    """Batches with position ids, and after them the first one without a picture."""
    alone = cases[0] | {"image": cases[0]["image"][:, :0]}
    made = []
    for case in (*cases, alone):
        count = torch.arange(case["input_ids"].shape[1]).expand_as(case["input_ids"])
        states = case["image"].shape[1]
        places = torch.where(count == 0, 0, count + states) if states else count + first
        made.append({**case, "position_ids": places})
    return made


def name(key: str) -> str:
    """From the checkpoint's names to the network's."""
    return f"tower.{key.removeprefix(VISUAL)}" if key.startswith(VISUAL) else key


def multilingual(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the text encoder is an XLM-R, which has one token type where BERT has two."""
    told = checkpoint.config.get("model_type")
    types = size_of(tensors, "bge_embeddings.token_type_embeddings.weight", 2)[0]
    return told == "xlm-roberta" if told else types == 1


def text_config(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> BertConfig:
    """The text encoder's sizes by its tensors, and the rest by `config.json`.

    Raises:
        ModelError: A tensor that tells one is missing.
    """
    said, many = checkpoint.config, multilingual(checkpoint, tensors)
    vocabulary, hidden = size_of(tensors, "bge_embeddings.word_embeddings.weight", 2)
    places = size_of(tensors, "bge_embeddings.position_embeddings.weight", 2)[0]
    inner = size_of(tensors, "bge_encoder.layer.0.intermediate.dense.weight", 2)[0]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers(tensors, r"bge_encoder\.layer\."),
        num_attention_heads=said.get("num_attention_heads", hidden // HEAD_WIDTH),
        intermediate_size=inner,
        max_position_embeddings=places,
        type_vocab_size=size_of(tensors, "bge_embeddings.token_type_embeddings.weight", 2)[0],
        layer_norm_eps=said.get("layer_norm_eps", 1e-5 if many else 1e-12),
        pad_token_id=said.get("pad_token_id", 1 if many else 0),
    )
    config._attn_implementation = "sdpa"
    return config


def eva_shape(tensors: Mapping[str, Tensor], heads: int) -> EvaShape:
    """The vision tower's sizes by its tensors.

    Raises:
        ModelError: A tensor that tells one is missing, or the patches are no square.
    """
    width, _, patch, _ = size_of(tensors, f"{VISUAL}patch_embed.proj.weight", 4)
    count = size_of(tensors, key := f"{VISUAL}pos_embed", 3)[1] - 1
    if (side := math.isqrt(count)) ** 2 != count:
        raise ModelError(f"{key}: {count} patches are no square")
    return EvaShape(
        width=width,
        layers=layers(tensors, re.escape(f"{VISUAL}blocks.")),
        heads=heads or width // HEAD_WIDTH,
        inner=size_of(tensors, f"{VISUAL}blocks.0.mlp.w1.weight", 2)[0],
        patch=patch,
        grid=side,
    )


def layers(tensors: Mapping[str, Tensor], before: str) -> int:
    """How many layers there are under a pattern."""
    found = re.compile(before + r"(\d+)\.")
    return len({match[1] for key in tensors if (match := found.match(key))})
