"""Qwen2-VL's vision tower, which reads patches of any grid, and the sizes of both its towers.

Written here because the library's vision tower cuts its batch by the lengths that it finds in it,
which no graph of dynamic shapes can do: pages are padded here, and padding is masked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.decoder import DecoderShape, attention_bias, turned

EPSILON = 1e-6  # of the vision tower's norms
THETA = 10000.0  # the base of its rotary wavelengths
AXES = 3  # of a position: time, row, column


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionShape:
    """The sizes of the vision tower.

    Attributes:
        width: Of a patch's state.
        layers: How many.
        heads: Attention heads a layer.
        inner: Of the network between.
        activation: Of that network: ``quick_gelu``, ``gelu`` or ``silu``.
        patch: Height and width of a patch, in pixels.
        frames: That one patch covers; a still picture is repeated.
        merge: Patches along each side that become one visual token.
        channels: Of a picture.
        out: The width of a visual token, which is the language tower's.
    """

    width: int
    layers: int
    heads: int
    inner: int
    activation: str
    patch: int
    frames: int
    merge: int
    channels: int
    out: int


class Vision(nn.Module):
    """The patches of some pictures to visual tokens."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbedding(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.merger = Merger(shape)

    def forward(
        self,
        patches: Float[Tensor, "images patches values"],
        places: Int[Tensor, "images patches 2"],
        patch_mask: Int[Tensor, "images patches"],
    ) -> Float[Tensor, "images tokens width"]:
        """The visual tokens of each picture.

        Args:
            patches: Their pixels, those of one visual token following each other.
            places: Row and column of each.
            patch_mask: 1 for patches, 0 for padding behind them.
        """
        bias = attention_bias(patch_mask, causal=False)
        cos, sin = self._rotation(places)
        states = self.patch_embed(patches)
        for block in self.blocks:
            states = block(states, bias, cos, sin)
        merged: Tensor = self.merger(states)
        return merged

    def _rotation(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """A half of each head's dimensions turns by the row, the other by the column."""
        half = self.shape.width // self.shape.heads // 2
        order = torch.arange(0, half, 2, dtype=torch.float32, device=places.device)
        angles = places[..., None].float() * THETA ** (-order / half)
        both = angles.flatten(2).repeat(1, 1, 2)[:, None]
        return both.cos(), both.sin()


class PatchEmbedding(nn.Module):
    """A convolution that never overlaps: a product with each patch's values."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        size = (shape.frames, shape.patch, shape.patch)
        self.proj = nn.Conv3d(shape.channels, shape.width, size, stride=size, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches, self.proj.weight.flatten(1))


class Block(nn.Module):
    """A pre-norm transformer layer over the patches of one picture."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=EPSILON)
        self.norm2 = nn.LayerNorm(shape.width, eps=EPSILON)
        self.attn = VisionAttention(shape)
        self.mlp = VisionMlp(shape)

    def forward(self, states: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        states = states + self.attn(self.norm1(states), bias, cos, sin)
        changed: Tensor = states + self.mlp(self.norm2(states))
        return changed


class VisionAttention(nn.Module):
    """Attention whose queries and keys are turned by their places."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, states: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = states.shape
        parts = self.qkv(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        read = F.scaled_dot_product_attention(
            turned(query, cos, sin), turned(key, cos, sin), value, attn_mask=bias
        )
        joined: Tensor = self.proj(read.transpose(1, 2).reshape(batch, length, width))
        return joined


class VisionMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.fc1 = nn.Linear(shape.width, shape.inner)
        self.fc2 = nn.Linear(shape.inner, shape.width)

    def forward(self, states: Tensor) -> Tensor:
        inner = self.fc1(states)
        if self.activation == "quick_gelu":
            inner = inner * torch.sigmoid(1.702 * inner)
        else:
            inner = F.silu(inner) if self.activation == "silu" else F.gelu(inner)
        outer: Tensor = self.fc2(inner)
        return outer


class Merger(nn.Module):
    """The patches of a square to one visual token."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.joined = shape.width * shape.merge**2
        self.ln_q = nn.LayerNorm(shape.width, eps=EPSILON)
        self.mlp = nn.Sequential(
            nn.Linear(self.joined, self.joined), nn.GELU(), nn.Linear(self.joined, shape.out)
        )

    def forward(self, states: Tensor) -> Tensor:
        squares = self.ln_q(states).reshape(states.shape[0], -1, self.joined)
        tokens: Tensor = self.mlp(squares)
        return tokens


def shapes(config: Mapping[str, Any]) -> tuple[VisionShape, DecoderShape]:
    """The sizes in a `config.json`, in which a language tower's stand apart or at the top.

    What is left out of the vision tower's is as in Qwen2-VL 7B.

    Raises:
        KeyError: One is missing.
        ValueError: The tower is of a kind that is not here.
    """
    vision, text = config["vision_config"], config.get("text_config", config)
    if text.get("use_sliding_window"):
        raise ValueError("use_sliding_window: true, and every token sees all those before it here")
    return _vision(vision), _language(text)


def _vision(config: Mapping[str, Any]) -> VisionShape:
    width = config.get("embed_dim", 1280)
    return VisionShape(
        width=width,
        layers=config.get("depth", 32),
        heads=config.get("num_heads", 16),
        inner=int(width * config.get("mlp_ratio", 4)),
        activation=config.get("hidden_act", "quick_gelu"),
        patch=config.get("patch_size", 14),
        frames=config.get("temporal_patch_size", 2),
        merge=config.get("spatial_merge_size", 2),
        channels=config.get("in_channels", config.get("in_chans", 3)),
        out=config.get("hidden_size", 3584),
    )


def _language(config: Mapping[str, Any]) -> DecoderShape:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "mrope"):
        raise ValueError(f"rope_type: {kind!r}, not 'default' or 'mrope'")
    heads = config["num_attention_heads"]
    sections = tuple(rope.get("mrope_section", (16, 24, 24)))
    if len(sections) != AXES:
        raise ValueError(f"mrope_section: {list(sections)}, not one for each of {AXES} axes")
    return DecoderShape(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        inner=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        key_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        causal=True,
        biased=True,
        activation=config.get("hidden_act", "silu"),
        epsilon=config.get("rms_norm_eps", 1e-5),
        norm_offset=0.0,
        embedding_scale=1.0,
        theta=rope.get("rope_theta", config.get("rope_theta", 1000000.0)),
        sections=sections,
    )
