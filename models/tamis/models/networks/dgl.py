"""How DGL makes its prompts, under the parameter names of the authors' checkpoints.

One table of learned vectors makes the prompts of texts and of frames, so that they are learned
together. They depend on no input: they are computed once, when a checkpoint is exported.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tamis.models.networks.clip import Layers, LayersShape, QuickGelu


class Prompts(NamedTuple):
    """What stands among CLIP's tokens.

    Attributes:
        text: After each text's first token.
        frames: After each frame's class token.
    """

    text: Float[Tensor, "layers n text_width"]
    frames: Float[Tensor, "layers frames m width"]


class TransformerPrompts(nn.Module):
    """All prompts of a layer attend to one another; those of texts are then mapped to their width.

    Args:
        shape: The sizes of the one layer that they go through.
        prompts: Of texts and frames together.
        layers: CLIP's.
        text_width: The width of CLIP's text tower.
    """

    def __init__(self, shape: LayersShape, prompts: int, layers: int, text_width: int) -> None:
        super().__init__()
        self.layers = layers
        self.unified_prompt_embedding = nn.Embedding(prompts, shape.width * layers)
        self.PromptTransformer = Layers(shape)
        self.unified_prompt_mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(shape.width, 2 * shape.width),
                "gelu": QuickGelu(),
                "c_proj": nn.Linear(2 * shape.width, text_width),
            }
        )

    def forward(self, frames: int, local: int) -> Prompts:
        """The prompts, `local` of each of so many frames; the others are of texts.

        Half of the texts' stand after the last token, where they change nothing.
        """
        table = self.unified_prompt_embedding.weight
        states = table.view(len(table), self.layers, -1).transpose(0, 1)
        for layer in self.PromptTransformer.resblocks:
            states = layer(states)
        count = states.shape[1] - frames * local
        text = states[:, : count // 2]
        for step in self.unified_prompt_mlp.values():
            text = step(text)
        return Prompts(text, states[:, count:].reshape(self.layers, frames, local, -1))


class LinearPrompts(nn.Module):
    """The same prompts for every frame; those of texts are a linear map of them.

    Args:
        prompts: Of one frame.
        layers: CLIP's.
        width: The width of CLIP's vision tower.
        text_width: The width of CLIP's text tower.
    """

    def __init__(self, prompts: int, layers: int, width: int, text_width: int) -> None:
        super().__init__()
        self.layers = layers
        self.visual_prompt_embedding = nn.Parameter(torch.zeros(1, prompts, layers * width))
        self.prefix_text_prompt_proj_layer = nn.Linear(width, text_width)

    def forward(self, frames: int, local: int) -> Prompts:
        """The prompts, for so many frames."""
        states = self.visual_prompt_embedding.view(local, self.layers, -1).transpose(0, 1)
        text = self.prefix_text_prompt_proj_layer(states)
        return Prompts(text, states[:, None].expand(-1, frames, -1, -1).contiguous())
