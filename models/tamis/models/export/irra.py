"""Exports IRRA: CLIP's towers with tall pictures, out of a checkpoint that holds more.

Also takes CLIP's own weights, whose positions it interpolates as IRRA does before it trains.
"""

from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip import write
from tamis.models.export.clip_weights import hints, size_of, towers
from tamis.models.export.draft import Draft
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.runtimes.transform import ImageTransform

PREFIX = "base_model."
TRAINING = (  # the transformer that guesses masked words, and the classifier of identities
    "cross_attn.*",
    "cross_modal_transformer.*",
    "ln_pre_t.*",
    "ln_pre_i.*",
    "ln_post.*",
    "mlm_head.*",
    "classifier.*",
)
HEIGHT, WIDTH = 384, 128


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer.

    Settings: `height` and `width` of a picture, and those of CLIP.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    settings, tensors = draft.options.settings, checkpoint.tensors()
    height, width = int(settings.get("height", HEIGHT)), int(settings.get("width", WIDTH))
    prefix = PREFIX if any(key.startswith(PREFIX) for key in tensors) else ""
    patch = size_of(tensors, f"{prefix}visual.conv1.weight", 4)[-1]
    network = towers(
        tensors,
        hints(checkpoint, settings),
        prefix=prefix,
        ignore=TRAINING,
        grid=(height // patch, width // patch),
    )
    pictures = ImageTransform(resize="stretch", height=height, width=width, resample="bilinear")
    return write(checkpoint, draft, network, pictures, method="irra")
