"""What exporters of video encoders share: the parts of a checkpoint, and the graphs.

Their settings: `max_frames` and `max_words` of what is read, and where a head is not 64 wide,
`vision_heads`, `text_heads` and `temporal_heads`.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip import text_rule
from tamis.models.export.clip_weights import HEAD_WIDTH, hints, size_of, towers
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import of_open_clip
from tamis.models.export.towers import write_pictures, write_texts
from tamis.models.networks.clip import ClipTowers, LayersShape
from tamis.models.networks.clip_graphs import ImageGraph, TextGraph
from tamis.models.runtimes.video import FrameRule, VideoRecipe

CLIP = "clip."
TEMPORAL = "transformerClip.resblocks."
OF_PAIRS = ("cross.*", "similarity_dense.*")  # of the tight similarity, which is a reranker's
FRAMES, WORDS = 12, 32  # that the authors read
EPSILON = 1e-12  # of the layer norms over frames
OF_VIDEOS = {0: "videos", 1: "frames"}


def parted(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of CLIP, and the others."""
    tensors = checkpoint.tensors()
    clip = {key: tensor for key, tensor in tensors.items() if key.startswith(CLIP)}
    return clip, {key: tensor for key, tensor in tensors.items() if key not in clip}


def clip_towers(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], settings: Mapping[str, str]
) -> ClipTowers:
    """CLIP's towers under `clip.`.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    return towers(tensors, hints(checkpoint, settings), prefix=CLIP)


def temporal_shape(
    tensors: Mapping[str, Tensor], settings: Mapping[str, str]
) -> tuple[LayersShape, int]:
    """The sizes of the transformer over frames, and how many frames it can read.

    Raises:
        ModelError: A tensor that tells one is missing.
    """
    positions, width = size_of(tensors, "frame_position_embeddings.weight", 2)
    shape = LayersShape(
        width=width,
        layers=len({key.split(".")[2] for key in tensors if key.startswith(TEMPORAL)}),
        heads=int(settings.get("temporal_heads", width // HEAD_WIDTH)),
        inner=size_of(tensors, f"{TEMPORAL}0.mlp.c_fc.weight", 2)[0],
        epsilon=EPSILON,
    )
    return shape, positions


def recipe_of(
    checkpoint: Checkpoint, draft: Draft, network: ClipTowers, method: str, *, filled: bool = False
) -> VideoRecipe:
    """What `model.toml` is to say; writes the tokenizer.

    Args:
        checkpoint: Whose it is.
        draft: Where the tokenizer goes, and what the settings are.
        network: Its towers.
        method: What serves it.
        filled: Whether missing frames are filled with zeros.

    Raises:
        ModelError: There is no tokenizer.
    """
    settings, context = draft.options.settings, network.text.shape.context
    words = min(int(settings.get("max_words", WORDS)), context)
    side = network.visual.shape.grid[0] * network.visual.shape.patch
    return VideoRecipe(
        name=draft.name(checkpoint),
        method=method,
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=network.text.shape.dim,
        text=replace(text_rule(checkpoint, draft, words, sentence=False), cleaning="openai"),
        image=of_open_clip({}, side),
        grid=network.visual.shape.grid,
        frames=FrameRule(most=int(settings.get("max_frames", FRAMES)), filled=filled),
    )


def write_frames_encoder(
    draft: Draft,
    recipe: VideoRecipe,
    head: nn.Module,
    *,
    text: nn.Module,
    image: nn.Module,
    positions: int | None = None,
) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`.

    Args:
        draft: Where they go; the tokenizer is there.
        recipe: What `model.toml` is to say.
        head: From frames and their mask to a video's vector.
        text: From a text's tokens to its vector.
        image: From a frame's pixels to its vector.
        positions: How many frames the head can read; None for any number.

    Raises:
        ModelError: A graph differs from its network, or `max_frames` is more than `positions`.
    """
    most = recipe.frames.most
    if positions is not None and most > positions:
        raise ModelError(f"max_frames: {most}; the checkpoint has positions for {positions}")
    write_texts(draft, text, recipe.text)
    write_pictures(draft, image, recipe.image, ("embedding",))
    draft.graph(
        "video",
        head,
        ("embedding",),
        [video_case(*sizes, recipe.dim) for sizes in ((3, min(4, most)), (1, most), (2, 1))],
        dynamic={"frames": OF_VIDEOS, "mask": OF_VIDEOS},
    )
    return recipe


def write_frames_of_clip(
    checkpoint: Checkpoint,
    draft: Draft,
    method: str,
    clip: Mapping[str, Tensor],
    head: nn.Module,
    *,
    filled: bool = False,
    positions: int | None = None,
) -> VideoRecipe:
    """Writes CLIP's towers as they are, and a head over the frames.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    network = clip_towers(checkpoint, clip, draft.options.settings)
    recipe = recipe_of(checkpoint, draft, network, method, filled=filled)
    text, image = TextGraph(network.text), ImageGraph(network.visual)
    return write_frames_encoder(draft, recipe, head, text=text, image=image, positions=positions)


def video_case(videos: int, frames: int, dim: int) -> dict[str, Tensor]:
    """Vectors of frames drawn at random; each video but the first has one frame less, if it can."""
    make = torch.Generator().manual_seed(frames)
    mask = torch.ones(videos, frames, dtype=torch.int64)
    if frames > 1:
        mask[1:, -1] = 0
    return {"frames": torch.randn(videos, frames, dim, generator=make), "mask": mask}
