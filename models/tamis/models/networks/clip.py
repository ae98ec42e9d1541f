"""CLIP's two towers, under the parameter names of OpenAI's checkpoints, which open_clip keeps.

The vision tower is also BLIP's (no norm before the layers, a bias on the patches) and IRRA's (a
grid that is no square). transformers has the same arithmetic with separate projections of queries,
keys and values and square grids only, and its penultimate attention costs all of them.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x), which OpenAI trained with."""

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"quick_gelu": QuickGelu, "gelu": nn.GELU}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersShape:
    """The sizes of a stack of pre-norm transformer layers.

    Attributes:
        width: Of a token's state.
        layers: How many there are.
        heads: Attention heads a layer.
        inner: The width between a layer's two linear maps.
        activation: A key of `ACTIVATIONS`.
        epsilon: Of the layer norms.
        fused: Whether attention is one operation of torch's; else its steps, whose rounding is
            that of weights trained before there was one.
    """

    width: int
    layers: int
    heads: int
    inner: int
    activation: str = "quick_gelu"
    epsilon: float = 1e-5
    fused: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionShape(LayersShape):
    """The sizes of a vision tower.

    Attributes:
        patch: The side of a patch, in pixels.
        grid: Rows and columns of patches.
        dim: Of the space that the states are projected into; 0 for no projection.
        pre_norm: Whether the patches are normed before the first layer.
        patch_bias: Whether the patches' linear map has a bias.
    """

    patch: int
    grid: tuple[int, int]
    dim: int
    pre_norm: bool = True
    patch_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape(LayersShape):
    """The sizes of a text tower.

    Attributes:
        context: Tokens that it can read.
        vocabulary: Tokens that it knows.
        dim: Of the space that the states are projected into; 0 for no projection.
    """

    context: int
    vocabulary: int
    dim: int


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int, *, fused: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width).normal_(std=width**-0.5))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        states: Float[Tensor, "batch n width"],
        *,
        causal: bool,
        mask: Float[Tensor, "batch _ _ n"] | None = None,
    ) -> Float[Tensor, "batch n width"]:
        query, key, value = self._split(F.linear(states, self.in_proj_weight, self.in_proj_bias))
        if self.fused or causal:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal
            )
        else:
            logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
            mixed = logits.softmax(-1) @ value
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def of_first(self, states: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n"]:
        """How much the first token attends to each, on average over the heads."""
        query, key, _ = self._split(F.linear(states, self.in_proj_weight, self.in_proj_bias))
        logits = query[:, :, :1] @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        return logits.softmax(-1).mean(1).squeeze(1)

    def _split(self, flat: Float[Tensor, "batch n three_width"]) -> tuple[Tensor, Tensor, Tensor]:
        batch, count, _ = flat.shape
        parts = flat.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, shape: LayersShape) -> None:
        super().__init__()
        self.attn = Attention(shape.width, shape.heads, fused=shape.fused)
        self.ln_1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.ln_2 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(shape.width, shape.inner),
                "gelu": ACTIVATIONS[shape.activation](),
                "c_proj": nn.Linear(shape.inner, shape.width),
            }
        )

    def forward(
        self,
        states: Float[Tensor, "batch n width"],
        *,
        causal: bool = False,
        mask: Float[Tensor, "batch _ _ n"] | None = None,
    ) -> Float[Tensor, "batch n width"]:
        """The states after the layer; `mask` is added to what attends to what."""
        states = states + self.attn(self.ln_1(states), causal=causal, mask=mask)
        return self.fed(states)

    def fed(self, states: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """What the second half of the layer makes of each state by itself."""
        inner = self.mlp["gelu"](self.mlp["c_fc"](self.ln_2(states)))
        return cast(Tensor, states + self.mlp["c_proj"](inner))

    def of_first(self, states: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n"]:
        """How much the first token attends to each."""
        return self.attn.of_first(self.ln_1(states))


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, shape: LayersShape) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Layer(shape) for _ in range(shape.layers))


class Seen(NamedTuple):
    """A vision tower's states.

    Attributes:
        last: Of the last layer, the class token's first.
        penultimate: Of the layer before the last, the patches' only: what LLaVA reads.
        attention: How much that layer's class token attends to each patch; sums to 1.
    """

    last: Float[Tensor, "batch tokens width"]
    penultimate: Float[Tensor, "batch patches width"]
    attention: Float[Tensor, "batch patches"]


class VisionTower(nn.Module):
    """Pixels to states: one of the class token and one a patch, in raster order."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.shape = shape
        rows, columns = shape.grid
        self.conv1 = nn.Conv2d(3, shape.width, shape.patch, shape.patch, bias=shape.patch_bias)
        self.class_embedding = nn.Parameter(torch.randn(shape.width) * 0.02)
        self.positional_embedding = nn.Parameter(
            torch.randn(1 + rows * columns, shape.width) * 0.02
        )
        self.ln_pre = (
            nn.LayerNorm(shape.width, eps=shape.epsilon) if shape.pre_norm else nn.Identity()
        )
        self.transformer = Layers(shape)
        self.ln_post = nn.LayerNorm(shape.width, eps=shape.epsilon)
        if shape.dim:
            self.proj = nn.Parameter(torch.randn(shape.width, shape.dim) * shape.width**-0.5)

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch tokens width"]:
        """The last layer's states, not yet normed."""
        states = self.embedded(pixels)
        for layer in self.transformer.resblocks:
            states = layer(states)
        return states

    def projected(self, states: Float[Tensor, "*n width"]) -> Float[Tensor, "*n dim"]:
        """Last states in the space that texts share."""
        normed = self.ln_post(states)
        return normed @ self.proj if self.shape.dim else normed

    def seen(self, pixels: Float[Tensor, "batch 3 h w"]) -> Seen:
        """The last layer's states, and the patches' as vision language models take them."""
        states = self.embedded(pixels)
        *before, penultimate, last = self.transformer.resblocks
        for layer in before:
            states = layer(states)
        attention = cast(Layer, penultimate).of_first(states)[:, 1:]
        states = penultimate(states)
        return Seen(last(states), states[:, 1:], attention / attention.sum(dim=-1, keepdim=True))

    def embedded(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch tokens width"]:
        """What the first layer reads."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(pixels.shape[0], 1, -1)
        return self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)


class TextTower(nn.Module):
    """Token ids to states; a token sees those before it only, so padding changes nothing."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.positional_embedding = nn.Parameter(torch.randn(shape.context, shape.width) * 0.01)
        self.transformer = Layers(shape)
        self.ln_final = nn.LayerNorm(shape.width, eps=shape.epsilon)
        if shape.dim:
            self.text_projection = nn.Parameter(
                torch.randn(shape.width, shape.dim) * shape.width**-0.5
            )

    def forward(self, input_ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n width"]:
        """The normed states of the last layer."""
        states = self.token_embedding(input_ids) + self.positional_embedding[: input_ids.shape[1]]
        for layer in self.transformer.resblocks:
            states = layer(states, causal=True)
        return self.ln_final(states)

    def pooled(self, input_ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch dim"]:
        """The state of the end token, the largest id of a text, in the space of pictures."""
        ends = input_ids.argmax(dim=-1)
        states = self(input_ids)
        rows = torch.arange(states.shape[0], device=states.device)
        return states[rows, ends] @ self.text_projection


class ClipTowers(nn.Module):
    """Both towers of one checkpoint: `visual.*` and `text.*`."""

    def __init__(self, vision: VisionShape, text: TextShape) -> None:
        super().__init__()
        self.visual = VisionTower(vision)
        self.text = TextTower(text)
