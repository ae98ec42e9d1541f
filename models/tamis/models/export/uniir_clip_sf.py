"""Exports UniIR's CLIP_SF: CLIP's towers, with the sizes of OpenAI's where nothing says others."""

from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip import write
from tamis.models.export.clip_weights import hints, towers
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import of_open_clip
from tamis.models.runtimes.towers import TowersRecipe

PREFIX = "clip_model."


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer. Settings: those of CLIP.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    network = towers(checkpoint.tensors(), hints(checkpoint, draft.options.settings), prefix=PREFIX)
    pictures = of_open_clip({}, network.visual.shape.grid[0] * network.visual.shape.patch)
    return write(
        checkpoint,
        draft,
        network,
        pictures,
        method="uniir_clip_sf",
        sentence=True,
        visual=False,
    )
