"""Exports Cap4Video: CLIP, what frames take from captions, and what joins frames and captions.

The authors train one model for frames and another for captions; each checkpoint is exported by
itself. Settings: those of `export.videos`, and `captions`: how many of a video are read.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.models.encoders.cap4video import Cap4VideoRecipe
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import HEAD_WIDTH, size_of
from tamis.models.export.draft import Draft
from tamis.models.export.texts import LENGTHS
from tamis.models.export.towers import text_cases, write_pictures
from tamis.models.export.videos import clip_towers, parted, recipe_of, temporal_shape
from tamis.models.networks.cap4video import (
    CaptionLayer,
    Captions,
    CoAttention,
    WeighedFrames,
    WeighedWords,
)
from tamis.models.networks.clip_graphs import ImageGraph
from tamis.models.networks.video import MeanP, SeqTransf

CAPTIONS = 30  # that the authors' captions have positions for
SHARED = "co_connetion_transformer_model_block.0."
PLACES = "sentence_position_embeddings.weight"
LAYERS = "caption_transformer_encoder.layers."
UNREAD = (
    # The captions' side of the co-attention, of which nothing is made.
    *(f"{SHARED}biattention.{name}.*" for name in ("key1", "value1", "query2")),
    *(f"{SHARED}biOutput.{name}.*" for name in ("q_dense1", "dense2", "LayerNorm2", "q_dense2")),
    f"{SHARED}t_*",
    # What the authors' class has and does not use.
    *(f"{name}_weight_fc.*" for name in ("fuse", "query", "title")),
    "caption_transformer_layer.*",
    "text_position_embeddings.*",
)


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


class Networks(nn.Module):
    """What a checkpoint has besides CLIP, by the authors' names as far as they are there."""

    def __init__(self, tensors: Mapping[str, Tensor], settings: Mapping[str, str]) -> None:
        super().__init__()
        width = size_of(tensors, f"{SHARED}biattention.query1.weight", 2)[0]
        heads = int(settings.get("text_heads", width // HEAD_WIDTH))
        self.co_connetion_transformer_model_block = nn.ModuleList([CoAttention(width, heads)])
        self.text_weight_fc = _weigher(tensors, "text_weight_fc")
        self.video_weight_fc = _weigher(tensors, "video_weight_fc")
        self.head = MeanP()
        if "frame_position_embeddings.weight" in tensors:
            self.head = SeqTransf(*temporal_shape(tensors, settings))
        layers, positions = [], 0
        if PLACES in tensors:
            positions = size_of(tensors, PLACES, 2)[0]
            inner = size_of(tensors, f"{LAYERS}0.linear1.weight", 2)[0]
            count = len({key.split(".")[2] for key in tensors if key.startswith(LAYERS)})
            layers = [CaptionLayer(width, heads, inner) for _ in range(count)]
        self.captions = Captions(layers, positions, width)
        load(self, tensors, rename=_renamed, ignore=UNREAD)

    @property
    def frames(self) -> WeighedFrames:
        """What makes a video's vectors."""
        (takes,) = self.co_connetion_transformer_model_block
        assert isinstance(takes, CoAttention)  # noqa: S101 - made above
        return WeighedFrames(takes, self.head, self.video_weight_fc)


def _weigher(tensors: Mapping[str, Tensor], name: str) -> nn.Module | None:
    """One linear map, or several with what is below 0 cut between them; None if there is none."""
    if f"{name}.weight" in tensors:
        return nn.Linear(size_of(tensors, f"{name}.weight", 2)[1], 1)
    steps = sorted(
        int(key.split(".")[1])
        for key in tensors
        if key.startswith(f"{name}.") and key.endswith(".weight")
    )
    if not steps:
        return None
    found: list[nn.Module] = []
    for step in steps:
        outs, ins = size_of(tensors, f"{name}.{step}.weight", 2)
        found += [nn.Linear(ins, outs), nn.ReLU()]
    return nn.Sequential(*found[:-1])


def _renamed(key: str) -> str:
    if key.startswith(("frame_position_embeddings.", "transformerClip.")):
        return f"head.{key}"
    if key.startswith(("sentence_position_embeddings.", "caption_transformer_encoder.")):
        return f"captions.{key}"
    return key


def export(checkpoint: Checkpoint, draft: Draft) -> Cap4VideoRecipe:
    """Writes the graphs `text`, `image`, `video` and `caption`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    settings = draft.options.settings
    clip, others = parted(checkpoint)
    towers = clip_towers(checkpoint, clip, settings)
    networks = Networks(others, settings).eval()
    said = recipe_of(checkpoint, draft, towers, "cap4video")
    most = int(settings.get("captions", CAPTIONS))
    dim = said.dim
    draft.graph(
        "text",
        WeighedWords(towers.text, networks.text_weight_fc),
        ("embedding", "words"),
        text_cases(draft, said.text),
        dynamic={"input_ids": LENGTHS},
    )
    write_pictures(draft, ImageGraph(towers.visual), said.image, ("embedding",))
    axes = {
        "frames": {0: "videos", 1: "frames"},
        "captions": {0: "videos", 1: "captions"},
    }
    draft.graph(
        "video",
        networks.frames,
        ("embedding", "weighed"),
        [_case(*sizes, dim) for sizes in ((2, 3, 4), (1, 1, 1), (1, said.frames.most, most))],
        dynamic=axes,
    )
    draft.graph(
        "caption",
        networks.captions,
        ("embedding",),
        [{"captions": _case(*sizes, dim)["captions"]} for sizes in ((2, 1, 3), (1, 1, most))],
        dynamic={"captions": axes["captions"]},
    )
    return Cap4VideoRecipe(**vars(said), captions=most)


def _case(videos: int, frames: int, captions: int, dim: int) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(captions)
    return {
        "frames": torch.randn(videos, frames, dim, generator=make),
        "captions": torch.randn(videos, captions, dim, generator=make),
    }
