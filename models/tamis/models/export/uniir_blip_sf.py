"""Exports UniIR's BLIP_SF: BLIP's two encoders, each with its projection."""

from tamis.models.export.blip_weights import blip, text_rule, transform
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
    rule, pictures = text_rule(network), transform(network)
    put_tokenizer(checkpoint, draft)
    write_texts(draft, BlipText(network), rule)
    write_pictures(draft, BlipImage(network), pictures, ("embedding",))
    return TowersRecipe(
        name=draft.name(checkpoint),
        method="uniir_blip_sf",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=network.text_proj.out_features,
        text=rule,
        image=pictures,
        grid=network.visual_encoder.shape.grid,
    )
