"""Exports CLIP4Clip's meanP, or the towers of its tight similarity: `clip.*`, and nothing over it.

Settings: those of `export.videos`.
"""

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.videos import OF_PAIRS, parted, write_frames_of_clip
from tamis.models.networks.video import MeanP
from tamis.models.runtimes.video import VideoRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    clip, others = parted(checkpoint)
    head = MeanP()
    load(head, others, ignore=OF_PAIRS)
    return write_frames_of_clip(checkpoint, draft, "clip4clip_meanp", clip, head)
