"""CLIP with learned tokens among its own: prompt tuning for videos, with CLIP as it is.

The prompts do not depend on the input, so that they are constants of the graph. Each layer has its
own; what a layer makes of them is dropped.
"""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.errors import ModelError
from tamis.models.networks.clip import Attention, Layer, Layers, TextTower, VisionTower


class PromptedText(nn.Module):
    """A text tower that reads prompts after a text's first token.

    Prompts after the last token would change nothing: no token before them attends to them.

    Args:
        tower: CLIP's.
        prompts: Of each layer.

    Raises:
        ModelError: There are prompts for another number of layers.
    """

    def __init__(self, tower: TextTower, prompts: Float[Tensor, "layers n width"]) -> None:
        super().__init__()
        _check(tower.transformer, prompts)
        self.tower = tower
        self.prompts = nn.Parameter(prompts, requires_grad=False)

    def forward(self, input_ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch dim"]:
        tower, texts = self.tower, torch.arange(input_ids.shape[0])
        states = tower.token_embedding(input_ids)
        states = states + tower.positional_embedding[: input_ids.shape[1]]
        for layer, prompts in zip(tower.transformer.resblocks, self.prompts, strict=True):
            states = _without(layer(_with(states, prompts), causal=True), len(prompts))
        last = states[texts, input_ids.argmax(dim=-1)]
        return tower.ln_final(last) @ tower.text_projection


class PromptedImage(nn.Module):
    """A vision tower that reads prompts after its class token.

    Args:
        tower: CLIP's.
        prompts: Of each layer.

    Raises:
        ModelError: There are prompts for another number of layers.
    """

    def __init__(self, tower: VisionTower, prompts: Float[Tensor, "layers n width"]) -> None:
        super().__init__()
        _check(tower.transformer, prompts)
        self.tower = tower
        self.prompts = nn.Parameter(prompts, requires_grad=False)

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch dim"]:
        states = self.tower.embedded(pixels)
        for layer, prompts in zip(self.tower.transformer.resblocks, self.prompts, strict=True):
            states = _without(layer(_with(states, prompts)), len(prompts))
        return self.tower.projected(states[:, 0])


class GlobalLocalVideo(nn.Module):
    """DGL's vision tower: a video's frames, and global tokens that see all of them.

    A frame's tokens see one another, the frame's prompts and the global tokens; the global tokens
    see everything. The first of them is the video.

    Args:
        tower: CLIP's.
        prompts: Of each layer, for each frame by its position.
        whole: The global tokens before the first layer.

    Raises:
        ModelError: There are prompts for another number of layers.
    """

    def __init__(
        self,
        tower: VisionTower,
        prompts: Float[Tensor, "layers frames n width"],
        whole: Float[Tensor, "tokens width"],
    ) -> None:
        super().__init__()
        _check(tower.transformer, prompts)
        self.tower = tower
        self.prompts = nn.Parameter(prompts, requires_grad=False)
        self.whole = nn.Parameter(whole, requires_grad=False)

    def forward(self, pixels: Float[Tensor, "videos frames 3 h w"]) -> Float[Tensor, "videos dim"]:
        videos, frames = pixels.shape[:2]
        states = self.tower.embedded(pixels.flatten(0, 1))
        whole = self.whole.expand(videos, -1, -1)
        for layer, prompts in zip(self.tower.transformer.resblocks, self.prompts, strict=True):
            local = prompts.expand(videos, -1, -1, -1).flatten(0, 1)
            states = torch.cat([states[:, :1], local, states[:, 1:]], dim=1)
            whole, states = self._through(cast(Layer, layer), whole, states, frames)
            states = _without(states, local.shape[1])
        return self.tower.projected(whole[:, 0])

    def _through(
        self,
        layer: Layer,
        whole: Float[Tensor, "videos tokens width"],
        states: Float[Tensor, "videos_frames n width"],
        frames: int,
    ) -> tuple[Float[Tensor, "videos tokens width"], Float[Tensor, "videos_frames n width"]]:
        normed, of_frames = layer.ln_1(whole), layer.ln_1(states)
        above = normed[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
        taken = _across(layer.attn, of_frames, torch.cat([above, of_frames], dim=1))
        everything = of_frames.view(whole.shape[0], -1, whole.shape[-1])
        gathered = _across(layer.attn, normed, torch.cat([normed, everything], dim=1))
        return layer.fed(whole + gathered), layer.fed(states + taken)


def _across(
    attention: Attention,
    states: Float[Tensor, "batch n width"],
    seen: Float[Tensor, "batch m width"],
) -> Float[Tensor, "batch n width"]:
    """What each state takes from those that it sees."""
    width = states.shape[-1]
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query = F.linear(states, weight[:width], bias[:width])
    both = F.linear(seen, weight[width:], bias[width:])
    query, key, value = (
        part.view(*part.shape[:2], attention.heads, -1).transpose(1, 2)
        for part in (query, *both.chunk(2, dim=-1))
    )
    mixed = F.scaled_dot_product_attention(query, key, value)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _with(
    states: Float[Tensor, "batch n width"], prompts: Float[Tensor, "m width"]
) -> Float[Tensor, "batch n_m width"]:
    own = prompts.expand(states.shape[0], -1, -1)
    return torch.cat([states[:, :1], own, states[:, 1:]], dim=1)


def _without(
    states: Float[Tensor, "batch n_m width"], count: int
) -> Float[Tensor, "batch n width"]:
    return torch.cat([states[:, :1], states[:, 1 + count :]], dim=1)


def _check(layers: Layers, prompts: Float[Tensor, "layers ..."]) -> None:
    if len(prompts) != len(layers.resblocks):
        raise ModelError(
            f"prompts for {len(prompts)} layers, and the tower has {len(layers.resblocks)}"
        )
