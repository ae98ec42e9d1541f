"""Exports TeachCLIP: `clip.*`, a transformer over the frames, and what weighs them.

Settings: those of `export.videos`, and `masked`: whether missing frames get no weight.
"""

from collections.abc import Mapping

from torch import Tensor

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.towers import chosen
from tamis.models.export.videos import OF_PAIRS, parted, temporal_shape, write_frames_of_clip
from tamis.models.networks.video import TeachCLIP
from tamis.models.runtimes.video import VideoRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def network_of(tensors: Mapping[str, Tensor], settings: Mapping[str, str]) -> TeachCLIP:
    """What is over the frames.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
        SettingsError: `masked` is neither true nor false.
    """
    network = TeachCLIP(
        *temporal_shape(tensors, settings), masked=chosen(settings, "masked", False)
    )
    load(network, tensors, ignore=OF_PAIRS)
    return network.eval()


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
        SettingsError: `masked` is neither true nor false.
    """
    clip, others = parted(checkpoint)
    head = network_of(others, draft.options.settings)
    return write_frames_of_clip(
        checkpoint,
        draft,
        "teachclip",
        clip,
        head,
        filled=not head.masked,
        positions=head.frame_position_embeddings.num_embeddings,
    )
