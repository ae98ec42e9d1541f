"""Exports SigLIP, and SigLIP 2 at a fixed resolution: a checkpoint of transformers."""

from typing import Any

from transformers import SiglipConfig, SiglipModel

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import transform
from tamis.models.export.texts import put_tokenizer
from tamis.models.export.towers import SEEN, chosen, write_pictures, write_texts
from tamis.models.networks.siglip import SiglipImage, SiglipSeen, SiglipText
from tamis.models.runtimes.tokenizer import Tokenizer
from tamis.models.runtimes.towers import TextRule, TowersRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is transformers' SigLIP; SigLIP 2 is that as well, unless of native aspect."""
    return checkpoint.config.get("model_type") == "siglip"


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer.

    Settings: `visual` (false leaves out the patches' states and attention).

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    config = SiglipConfig(**checkpoint.config)
    config._attn_implementation = "sdpa"
    text: Any = config.text_config
    vision: Any = config.vision_config
    network = SiglipModel(config)
    load(network, checkpoint.tensors(), ignore=("*position_ids",))
    put_tokenizer(checkpoint, draft)
    rule = text_rule(checkpoint, draft, text.max_position_embeddings)
    write_texts(draft, SiglipText(network), rule)
    seen = chosen(draft.options.settings, "visual", default=True)
    graph = SiglipSeen(network) if seen else SiglipImage(network)
    pictures = transform(checkpoint, vision.image_size)
    write_pictures(draft, graph, pictures, SEEN if seen else SEEN[:1])
    side = vision.image_size // vision.patch_size
    return TowersRecipe(
        name=draft.name(checkpoint),
        method="siglip",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=text.projection_size,
        text=rule,
        image=pictures,
        grid=(side, side),
        visual=seen,
    )


def text_rule(checkpoint: Checkpoint, draft: Draft, context: int) -> TextRule:
    """SigLIP's reading of texts: SigLIP 2, of Gemma's tokenizer, keeps punctuation.

    Raises:
        ModelError: The tokenizer does not know the token that it pads with.
    """
    said = checkpoint.table("tokenizer_config.json")
    token = said.get("pad_token", "</s>")
    token = token["content"] if isinstance(token, dict) else token
    tokenizer = Tokenizer.open(draft.folder, max_length=context)
    padding = tokenizer.whole.token_to_id(token)
    if padding is None:
        raise ModelError(f"{checkpoint.name}: pad_token: {token!r} is not in tokenizer.json")
    second = str(said.get("tokenizer_class", "")).startswith(("Gemma", "Siglip2"))
    return TextRule(
        max_tokens=context,
        length=context,
        padding=padding,
        cleaning="lower" if second else "siglip",
    )
