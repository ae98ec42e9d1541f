"""tamis-mini: a small vision tower whose every patch lives in a sentence encoder's space.

A few convolutions bring 96 x 96 pixels to 12 x 12 patches (small data sets teach edges and
textures to convolutions sooner than to attention), a transformer relates the patches, one head
takes each into the text space, and the picture is their mean, weighted by attention.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniVitShape:
    """The sizes of a tower.

    Attributes:
        image_size: The side of a picture, in pixels.
        patch: The side of a patch, in pixels; the stem halves three times, so 8.
        width: Of a patch's state.
        depth: Transformer layers.
        heads: Attention heads a layer.
        stem: Channels after each of the stem's two first halvings.
        dim: Of the text space.
    """

    image_size: int = 96
    patch: int = 8
    width: int = 192
    depth: int = 5
    heads: int = 3
    stem: tuple[int, int] = (32, 64)
    dim: int = 384

    def __post_init__(self) -> None:
        if self.patch != 8 or self.image_size % 8 or self.width % self.heads:
            raise ValueError("needs patch = 8, image_size a multiple of it, width one of heads")


class Seen(NamedTuple):
    """What the tower makes of a batch of pictures; vectors are of unit length but `visual`."""

    embedding: Float[Tensor, "batch dim"]
    tokens: Float[Tensor, "batch patches dim"]
    visual: Float[Tensor, "batch patches width"]
    attention: Float[Tensor, "batch patches"]


class MiniVit(nn.Module):
    """Pixels to a picture's and its patches' places in the text space."""

    def __init__(self, shape: MiniVitShape) -> None:
        super().__init__()
        first, second = shape.stem
        self.shape = shape
        self.stem = nn.Sequential(
            *_convolution(3, first, 4, stride=2),
            nn.ReLU(),
            *_convolution(first, second, 4, stride=2),
            nn.ReLU(),
            Residual(second),
            Residual(second),
            *_convolution(second, shape.width, 4, stride=2),
        )
        side = shape.image_size // shape.patch
        self.places = nn.Parameter(torch.randn(1, shape.width, side, side) * 0.02)
        self.layers = nn.ModuleList(Layer(shape.width, shape.heads) for _ in range(shape.depth))
        self.last = nn.LayerNorm(shape.width)
        self.head = nn.Sequential(
            nn.Linear(shape.width, 2 * shape.width),
            nn.GELU(),
            nn.Linear(2 * shape.width, shape.dim),
        )
        self.importance = nn.Linear(shape.width, 1)
        self.apply(_initialised)

    def forward(
        self,
        pixels: UInt8[Tensor, "batch height width 3"],
        kept: Int[Tensor, "batch kept"] | None = None,
    ) -> Seen:
        """Looks at pictures.

        Args:
            pixels: RGB; a size other than the shape's (a multiple of 8) is for training only.
            kept: The patches to look at, of each picture; None for all. For training.
        """
        scaled = (pixels.permute(0, 3, 1, 2).float() - 127.5) / 64.0
        grid = self.stem(scaled)
        places: Tensor = self.places
        if grid.shape[2] != places.shape[2]:
            places = F.interpolate(places, grid.shape[2:], mode="bicubic", align_corners=False)
        states = (grid + places).flatten(2).transpose(1, 2)
        if kept is not None:
            states = states.gather(1, kept[..., None].expand(-1, -1, states.shape[2]))
        for layer in self.layers:
            states = layer(states)
        visual = self.last(states)
        projected = self.head(visual)
        attention = self.importance(visual).squeeze(-1).softmax(-1)
        embedding = (attention[:, None] @ projected).squeeze(1)
        return Seen(
            F.normalize(embedding, dim=-1), F.normalize(projected, dim=-1), visual, attention
        )


class Residual(nn.Module):
    """A 3 x 3 convolution beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(*_convolution(channels, channels, 3), nn.ReLU())

    def forward(self, grid: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return grid + self.change(grid)


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.related = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.change = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, states: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        batch, count, width = states.shape
        parts = self.related(self.before(states))
        query, key, value = parts.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        states = states + self.joined(mixed.transpose(1, 2).reshape(batch, count, width))
        return states + self.change(self.between(states))


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, side, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _initialised(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
