"""Exports CLIP4Clip's seqTransf: `clip.*`, and a transformer over the frames.

Settings: those of `export.videos`.
"""

from collections.abc import Mapping

from torch import Tensor

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.videos import OF_PAIRS, parted, temporal_shape, write_frames_of_clip
from tamis.models.networks.video import SeqTransf
from tamis.models.runtimes.video import VideoRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def network_of(tensors: Mapping[str, Tensor], settings: Mapping[str, str]) -> SeqTransf:
    """The transformer over the frames.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    network = SeqTransf(*temporal_shape(tensors, settings))
    load(network, tensors, ignore=OF_PAIRS)
    return network.eval()


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    clip, others = parted(checkpoint)
    head = network_of(others, draft.options.settings)
    positions = head.frame_position_embeddings.num_embeddings
    return write_frames_of_clip(
        checkpoint, draft, "clip4clip_seqtransf", clip, head, positions=positions
    )
