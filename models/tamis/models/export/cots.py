"""Exports COTS: two towers under CLIP's names."""

from tamis.models.export import clip
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.towers import TowersRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: its names are CLIP's."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    return clip.export(checkpoint, draft, method="cots")
