"""Exports DGL: CLIP with prompts, which are computed here once and become constants.

Settings: those of `export.videos`, and `prompt_heads` of the layer that the prompts go through.
`max_frames` is what the checkpoint was trained with: each frame's prompts are its position's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import HEAD_WIDTH, size_of
from tamis.models.export.draft import Draft
from tamis.models.export.towers import write_texts
from tamis.models.export.videos import CLIP, FRAMES, clip_towers, parted, recipe_of
from tamis.models.networks.clip import ClipTowers, LayersShape
from tamis.models.networks.dgl import LinearPrompts, Prompts, TransformerPrompts
from tamis.models.networks.prompt_tuned import GlobalLocalVideo, PromptedText
from tamis.models.runtimes.video import VideoRecipe

WHOLE = f"{CLIP}visual.prompt_embeddings"
TABLE, FRAME_TABLE = f"{CLIP}unified_prompt_embedding.weight", f"{CLIP}visual_prompt_embedding"
OF_PROMPTS = tuple(
    f"{CLIP}{name}"
    for name in (
        "unified_prompt_",
        "PromptTransformer.",
        "visual_prompt_embedding",
        "prefix_text_prompt_proj_layer.",
        "postfix_text_prompt_proj_layer.",
    )
)
# The prompts after a text's last token change nothing; frame embeddings are never added.
UNREAD = ("*.postfix_text_prompt_proj_layer.*", "*.frame_embedding")


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


@torch.no_grad()
def prompts_of(
    tensors: Mapping[str, Tensor], towers: ClipTowers, local: int, settings: Mapping[str, str]
) -> Prompts:
    """The prompts of texts and frames, `local` of each frame.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape, or `max_frames` is too many.
    """
    frames = int(settings.get("max_frames", FRAMES))
    layers, width = towers.visual.shape.layers, towers.visual.shape.width
    text_width = towers.text.shape.width
    network: TransformerPrompts | LinearPrompts
    if FRAME_TABLE in tensors:
        network = LinearPrompts(local, layers, width, text_width)
    else:
        count = size_of(tensors, TABLE, 2)[0]
        if count <= frames * local:
            raise ModelError(
                f"{TABLE}: {count} prompts are too few for {frames} frames of {local}: "
                "max_frames is not what the checkpoint was trained with"
            )
        heads = int(settings.get("prompt_heads", width // HEAD_WIDTH))
        shape = LayersShape(width=width, layers=1, heads=heads, inner=4 * width)
        network = TransformerPrompts(shape, count, layers, text_width)
    load(network, tensors, rename=lambda key: key.removeprefix(CLIP), ignore=UNREAD)
    made: Prompts = network.eval()(frames, local)
    return made


def networks_of(
    checkpoint: Checkpoint, settings: Mapping[str, str]
) -> tuple[ClipTowers, PromptedText, GlobalLocalVideo]:
    """The towers, and what reads texts and videos by them.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    clip, others = parted(checkpoint)
    if others:
        raise ModelError(f"{min(others)}: unknown: everything of DGL is under {CLIP}")
    _, local, width = size_of(clip, WHOLE, 3)
    own = {key: clip.pop(key) for key in list(clip) if key.startswith(OF_PROMPTS)}
    whole = clip.pop(WHOLE)[0]
    clip = {key: tensor for key, tensor in clip.items() if not key.endswith(".frame_embedding")}
    towers = clip_towers(checkpoint, clip, settings)
    if width != towers.visual.shape.width:
        raise ModelError(f"{WHOLE}: expected width {towers.visual.shape.width}, got {width}")
    prompts = prompts_of(own, towers, local, settings)
    text = PromptedText(towers.text, prompts.text)
    return towers, text.eval(), GlobalLocalVideo(towers.visual, prompts.frames, whole).eval()


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    towers, text, video = networks_of(checkpoint, draft.options.settings)
    recipe = recipe_of(checkpoint, draft, towers, "dgl", filled=True)
    write_texts(draft, text, recipe.text)
    draft.graph("video", video, ("embedding",), _cases(recipe), dynamic={"pixels": {0: "videos"}})
    return recipe


def _cases(recipe: VideoRecipe) -> list[dict[str, Tensor]]:
    shape = recipe.frames.most, 3, recipe.image.height, recipe.image.width
    make = torch.Generator().manual_seed(0)
    return [{"pixels": torch.randn(videos, *shape, generator=make)} for videos in (2, 1)]
