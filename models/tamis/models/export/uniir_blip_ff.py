"""Exports UniIR's BLIP_FF: BLIP's vision encoder, and its text encoder with cross-attention."""

from tamis.models.export.blip_weights import blip, text_rule, transform
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.export.texts import put_tokenizer
from tamis.models.export.towers import joint_cases, write_joint, write_pictures
from tamis.models.networks.uniir import BlipJoint, BlipStates
from tamis.models.runtimes.towers import TowersRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: its `config.json`, if any, is a BERT's."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `image` and `joint`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    network = blip(checkpoint, draft.options.settings, projected=False)
    rule, pictures = text_rule(network), transform(network)
    put_tokenizer(checkpoint, draft)
    states = BlipStates(network)
    write_pictures(draft, states, pictures, ("states",))
    write_joint(draft, BlipJoint(network), rule, joint_cases(draft, rule, states, pictures))
    return TowersRecipe(
        name=draft.name(checkpoint),
        method="uniir_blip_ff",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=network.text_encoder.config.hidden_size,
        text=rule,
        image=pictures,
        grid=network.visual_encoder.shape.grid,
    )
