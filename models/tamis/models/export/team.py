"""Exports TEAM's alignment blocks; the towers are an encoder's."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.networks.team import HEAD_WIDTH, Team
from tamis.models.runtimes.pair_scorer import PairRecipe

READ = ("team_block_list.", "image_tensor_fc.", "text_tensor_fc.")
MOST = 1024  # tokens of both sides together


def reads(checkpoint: Checkpoint) -> bool:
    """Never of itself: the authors' checkpoints say nothing of what they are."""
    return False


def network_of(tensors: Mapping[str, Tensor], *, heads: int = 0) -> Team:
    """The blocks of a checkpoint, which holds the towers too.

    Args:
        tensors: By the authors' keys.
        heads: Of attention; 0 for one for 64 numbers.

    Raises:
        ModelError: A tensor is missing or of another shape.
    """
    own = {key: tensor for key, tensor in tensors.items() if key.startswith(READ)}
    try:
        shared, dim = own["text_tensor_fc.weight"].shape
        inner = len(own["team_block_list.0.ffn.fc1.weight"])
    except KeyError as error:
        raise ModelError(f"{error.args[0]}: missing: no TEAM") from error
    blocks = {key.split(".")[1] for key in own if key.startswith(READ[0])}
    network = Team(dim, heads or dim // HEAD_WIDTH, inner, len(blocks), shared)
    load(network, own)
    return network.eval()


def export(checkpoint: Checkpoint, draft: Draft) -> PairRecipe:
    """Writes the graph `joint.onnx`.

    Settings: `heads`, where it is not a 64th of the width.

    Raises:
        ModelError: A tensor is missing or of another shape, or the graph differs.
    """
    network = network_of(checkpoint.tensors(), heads=int(draft.options.settings.get("heads", 0)))
    dim = network.text_tensor_fc.in_features
    cases = [_case(*sizes, dim) for sizes in ((3, 4, 5), (2, 7, 3), (2, 2, 16))]
    dynamic = {"text": {0: "pairs", 1: "words"}, "image": {0: "pairs", 1: "vectors"}}
    draft.graph("joint", network, ["score"], cases, dynamic=dynamic)
    return PairRecipe(
        name=draft.name(checkpoint),
        method="team",
        licence=draft.options.licence,
        files={},
        dim=dim,
        most=MOST,
        inputs=("text", "image"),
    )


def _case(pairs: int, words: int, patches: int, dim: int) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(words)
    return {
        "text": torch.randn(pairs, words, dim, generator=make),
        "image": torch.randn(pairs, patches, dim, generator=make),
    }
