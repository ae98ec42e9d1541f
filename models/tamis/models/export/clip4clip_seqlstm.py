"""Exports CLIP4Clip's seqLSTM: `clip.*`, and an LSTM over the frames.

Settings: those of `export.videos`.
"""

from collections.abc import Mapping

from torch import Tensor

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import size_of
from tamis.models.export.draft import Draft
from tamis.models.export.videos import OF_PAIRS, parted, write_frames_of_clip
from tamis.models.networks.video import SeqLSTM
from tamis.models.runtimes.video import VideoRecipe

UNREAD = (*OF_PAIRS, "frame_position_embeddings.*")  # the authors' class has them all the same


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def network_of(tensors: Mapping[str, Tensor]) -> SeqLSTM:
    """The LSTM over the frames.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    network = SeqLSTM(size_of(tensors, "lstm_visual.weight_ih_l0", 2)[1])
    load(network, tensors, ignore=UNREAD)
    return network.eval()


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    clip, others = parted(checkpoint)
    head = network_of(others)
    return write_frames_of_clip(checkpoint, draft, "clip4clip_seqlstm", clip, head)
