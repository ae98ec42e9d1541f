"""Exports UniIR's BLIP_FF: BLIP's vision encoder, and its text encoder with cross-attention."""

from tamis.models.export.blip_weights import blip, recipe
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
    dim = network.text_encoder.config.hidden_size
    said = recipe(checkpoint, draft, network, method="uniir_blip_ff", dim=dim)
    put_tokenizer(checkpoint, draft)
    states = BlipStates(network)
    write_pictures(draft, states, said.image, ("states",))
    cases = joint_cases(draft, said.text, states, said.image)
    write_joint(draft, BlipJoint(network), said.text, cases)
    return said
