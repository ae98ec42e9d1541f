"""Exports UniIR's BLIP_SF: BLIP's two encoders, each with its projection."""

from tamis.models.export.blip_weights import blip, recipe
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.export.texts import put_tokenizer
from tamis.models.export.towers import write_pictures, write_texts
from tamis.models.networks.uniir import BlipImage, BlipText
from tamis.models.runtimes.towers import TowersRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: its `config.json`, if any, is a BERT's."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    network = blip(checkpoint, draft.options.settings, projected=True)
    dim = network.text_proj.out_features
    said = recipe(checkpoint, draft, network, method="uniir_blip_sf", dim=dim)
    put_tokenizer(checkpoint, draft)
    write_texts(draft, BlipText(network), said.text)
    write_pictures(draft, BlipImage(network), said.image, ("embedding",))
    return said
