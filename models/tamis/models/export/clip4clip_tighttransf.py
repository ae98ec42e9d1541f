"""Exports the cross transformer of CLIP4Clip's tight similarity; the towers are an encoder's."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.networks.clip import LayersShape
from tamis.models.networks.tight_transf import TightTransf
from tamis.models.runtimes.pair_scorer import PairRecipe

HEAD_WIDTH = 64  # by which the authors' code tells the heads
EPSILON = 1e-12  # of the authors' own layer norm
LAYER = "cross.transformer.resblocks."


def reads(checkpoint: Checkpoint) -> bool:
    """Never of itself: the authors' checkpoints say nothing of what they are."""
    return False


def network_of(tensors: Mapping[str, Tensor], *, heads: int = 0) -> TightTransf:
    """The cross transformer of a checkpoint, which may hold much else.

    Args:
        tensors: By the authors' keys.
        heads: Of attention; 0 for one for 64 numbers.

    Raises:
        ModelError: A tensor is missing or of another shape.
    """
    own = {k: v for k, v in tensors.items() if k.startswith(("cross.", "similarity_dense."))}
    try:
        positions, width = own["cross.embeddings.position_embeddings.weight"].shape
        inner = len(own[f"{LAYER}0.mlp.c_fc.weight"])
    except KeyError as error:
        raise ModelError(f"{error.args[0]}: missing: no cross transformer") from error
    shape = LayersShape(
        width=width,
        layers=len({key.removeprefix(LAYER).split(".")[0] for key in own if key.startswith(LAYER)}),
        heads=heads or width // HEAD_WIDTH,
        inner=inner,
        epsilon=EPSILON,
    )
    network = TightTransf(shape, positions)
    load(network, own)
    return network.eval()


def export(checkpoint: Checkpoint, draft: Draft) -> PairRecipe:
    """Writes the graph `joint.onnx`.

    Settings: `heads`, where it is not a 64th of the width.

    Raises:
        ModelError: A tensor is missing or of another shape, or the graph differs.
    """
    network = network_of(checkpoint.tensors(), heads=int(draft.options.settings.get("heads", 0)))
    positions, width = network.cross["embeddings"]["position_embeddings"].weight.shape  # type: ignore[index]
    cases = [_case(pairs, frames, width) for pairs, frames in ((3, 4), (2, 1), (1, positions - 1))]
    dynamic = {"query": {0: "pairs"}, "document": {0: "pairs", 1: "frames"}}
    draft.graph("joint", network, ["score"], cases, dynamic=dynamic)
    return PairRecipe(
        name=draft.name(checkpoint),
        method="clip4clip_tighttransf",
        licence=draft.options.licence,
        files={},
        dim=width,
        most=positions,
        inputs=("query", "document"),
    )


def _case(pairs: int, frames: int, width: int) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(frames)
    return {
        "query": torch.randn(pairs, 1, width, generator=make),
        "document": torch.randn(pairs, frames, width, generator=make),
    }
