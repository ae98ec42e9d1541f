"""Exports VoP: `clip.*`, and prompts for each layer as `text_prompts` and `video_prompts`.

The authors published no weights, and so no names: these are ours. Settings: those of
`export.videos`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.clip_weights import size_of
from tamis.models.export.draft import Draft
from tamis.models.export.videos import clip_towers, parted, recipe_of, write_frames_encoder
from tamis.models.networks.clip import ClipTowers
from tamis.models.networks.prompt_tuned import PromptedImage, PromptedText
from tamis.models.networks.video import MeanP
from tamis.models.runtimes.video import VideoRecipe

TEXT, VIDEO = "text_prompts", "video_prompts"


def reads(checkpoint: Checkpoint) -> bool:
    """Never by itself: the checkpoint has no configuration."""
    return False


def networks_of(
    towers: ClipTowers, tensors: Mapping[str, Tensor]
) -> tuple[PromptedText, PromptedImage]:
    """The towers with their prompts.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    shapes = {TEXT: towers.text.shape, VIDEO: towers.visual.shape}
    prompts = nn.ParameterDict(
        {
            key: torch.empty(shape.layers, size_of(tensors, key, 3)[1], shape.width)
            for key, shape in shapes.items()
        }
    )
    load(prompts, tensors)
    return (
        PromptedText(towers.text, prompts[TEXT]).eval(),
        PromptedImage(towers.visual, prompts[VIDEO]).eval(),
    )


def export(checkpoint: Checkpoint, draft: Draft) -> VideoRecipe:
    """Writes the graphs `text`, `image` and `video`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, there is no tokenizer, or a graph differs.
    """
    clip, others = parted(checkpoint)
    towers = clip_towers(checkpoint, clip, draft.options.settings)
    text, image = networks_of(towers, others)
    recipe = recipe_of(checkpoint, draft, towers, "vop")
    return write_frames_encoder(draft, recipe, MeanP(), text=text, image=image)
