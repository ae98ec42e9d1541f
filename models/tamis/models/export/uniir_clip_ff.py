"""Exports UniIR's CLIP_FF: CLIP's towers without the text's projection, and a T5 encoder."""

import re
from collections.abc import Mapping

from torch import Tensor
from transformers import T5Config

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip import text_rule
from tamis.models.export.clip_weights import hints, size_of, towers
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import of_open_clip
from tamis.models.export.towers import joint_cases, write_joint, write_pictures
from tamis.models.networks.clip_graphs import StatesGraph
from tamis.models.networks.uniir import ClipJoint, T5Fusion
from tamis.models.runtimes.towers import TowersRecipe

CLIP, T5 = "clip_model.", "t5_layers."


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `image` and `joint`, and the tokenizer. Settings: those of CLIP.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    tensors = checkpoint.tensors()
    said = hints(checkpoint, draft.options.settings)
    network = towers(tensors, said, prefix=CLIP, ignore=(f"{T5}*",))
    fusion = T5Fusion(t5_config(tensors))
    load(fusion, tensors, ignore=(f"{CLIP}*",))
    shape, text = network.visual.shape, network.text
    pictures = of_open_clip({}, shape.grid[0] * shape.patch)
    rule = text_rule(checkpoint, draft, text.shape.context, sentence=True, whole=True)
    states = StatesGraph(network.visual)
    write_pictures(draft, states, pictures, ("states",))
    write_joint(draft, ClipJoint(text, fusion), rule, joint_cases(draft, rule, states, pictures))
    return TowersRecipe(
        name=draft.name(checkpoint),
        method="uniir_clip_ff",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=shape.dim,
        text=rule,
        image=pictures,
        grid=shape.grid,
    )


def t5_config(tensors: Mapping[str, Tensor]) -> T5Config:
    """The encoder's sizes by its tensors.

    Raises:
        ModelError: A tensor that tells one is missing.
    """
    first = f"{T5}block.0.layer.0.SelfAttention."
    buckets, heads = size_of(tensors, f"{first}relative_attention_bias.weight", 2)
    inner, width = size_of(tensors, f"{first}q.weight", 2)
    layers = {match[1] for key in tensors if (match := re.match(rf"{T5}block\.(\d+)\.", key))}
    config = T5Config(
        d_model=width,
        d_kv=inner // heads,
        d_ff=size_of(tensors, f"{T5}block.0.layer.1.DenseReluDense.wi.weight", 2)[0],
        num_heads=heads,
        num_layers=len(layers),
        relative_attention_num_buckets=buckets,
        vocab_size=2,  # never read
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    config._attn_implementation = "eager"  # torch cannot export what joins the fused one's heads
    return config
