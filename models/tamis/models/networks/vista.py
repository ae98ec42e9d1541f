"""VISTA's two parts: an EVA-02 vision tower, and a BERT that reads its patches as tokens.

Position ids come from outside: with a picture they count from 0, also in the multilingual model,
whose plain texts count from 2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertEncoder

MASKED = -65504.0  # the smallest number of float16, which the authors add whatever the precision


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaShape:
    """The sizes of an EVA-02 tower.

    Attributes:
        width: Of a patch's state.
        layers: How many there are.
        heads: Attention heads a layer.
        inner: The width between a layer's linear maps.
        patch: The side of a patch, in pixels.
        grid: Patches a side.
        trained_grid: Patches a side to which rotary positions are scaled.
        epsilon: Of the layer norms.
    """

    width: int
    layers: int
    heads: int
    inner: int
    patch: int
    grid: int
    trained_grid: int = 16
    epsilon: float = 1e-6


class Rotary(nn.Module):
    """Each patch's angles: the row's in the first half of the dimensions, the column's after.

    Neighbouring dimensions are a pair and turn alike. Checkpoints bring the angles with them.
    """

    def __init__(self, shape: EvaShape) -> None:
        super().__init__()
        half = shape.width // shape.heads // 2
        speeds = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
        places = torch.arange(shape.grid, dtype=torch.float32) / shape.grid * shape.trained_grid
        angles = torch.outer(places, speeds).repeat_interleave(2, dim=-1)
        size = (shape.grid, shape.grid, half)
        both = torch.cat([angles[:, None].expand(size), angles[None].expand(size)], dim=-1)
        self.freqs_cos: Tensor
        self.freqs_sin: Tensor
        self.register_buffer("freqs_cos", both.flatten(0, 1).cos())
        self.register_buffer("freqs_sin", both.flatten(0, 1).sin())


def turned(
    states: Float[Tensor, "batch heads n dim"],
    cosines: Float[Tensor, "n dim"],
    sines: Float[Tensor, "n dim"],
) -> Float[Tensor, "batch heads n dim"]:
    """The states with each pair of neighbouring dimensions turned by its angle."""
    pairs = states.view(*states.shape[:-1], -1, 2)
    across = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return states * cosines + across * sines


class EvaAttention(nn.Module):
    """Self-attention in which patches, but not the class token, have rotary positions."""

    def __init__(self, shape: EvaShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.inner_attn_ln = nn.LayerNorm(width, eps=shape.epsilon)
        self.proj = nn.Linear(width, width)

    def forward(self, states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        def heads(flat: Tensor) -> Tensor:
            return flat.view(*flat.shape[:2], self.heads, -1).transpose(1, 2)

        def placed(each: Tensor) -> Tensor:
            return torch.cat([each[:, :, :1], turned(each[:, :, 1:], cosines, sines)], dim=2)

        query = placed(heads(self.q_proj(states) + self.q_bias))
        key, value = placed(heads(self.k_proj(states))), heads(self.v_proj(states) + self.v_bias)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(self.inner_attn_ln(mixed.transpose(1, 2).flatten(2)))


class SwiGlu(nn.Module):
    """silu(x W1) * (x W2), normed, through W3."""

    def __init__(self, shape: EvaShape) -> None:
        super().__init__()
        self.w1 = nn.Linear(shape.width, shape.inner)
        self.w2 = nn.Linear(shape.width, shape.inner)
        self.ffn_ln = nn.LayerNorm(shape.inner, eps=shape.epsilon)
        self.w3 = nn.Linear(shape.inner, shape.width)

    def forward(self, states: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        return self.w3(self.ffn_ln(F.silu(self.w1(states)) * self.w2(states)))


class EvaLayer(nn.Module):
    """A pre-norm layer of EVA-02."""

    def __init__(self, shape: EvaShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.attn = EvaAttention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.mlp = SwiGlu(shape)

    def forward(self, states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        states = states + self.attn(self.norm1(states), cosines, sines)
        return states + self.mlp(self.norm2(states))


class EvaTower(nn.Module):
    """Pixels to states, the class token's first; VISTA leaves out the last norm."""

    def __init__(self, shape: EvaShape) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, shape.width, shape.patch, shape.patch)}
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + shape.grid**2, shape.width) * 0.02)
        self.blocks = nn.ModuleList(EvaLayer(shape) for _ in range(shape.layers))
        self.rope = Rotary(shape)

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch n width"]:
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        states = torch.cat([self.cls_token.expand(pixels.shape[0], 1, -1), patches], dim=1)
        states = states + self.pos_embed
        for layer in self.blocks:
            states = layer(states, self.rope.freqs_cos, self.rope.freqs_sin)
        return states


class VistaImage(nn.Module):
    """Pixels to tokens that the text encoder can read: projected, placed from 1 on, normed."""

    def __init__(self, tower: EvaTower, projection: nn.Linear, embeddings: BertEmbeddings) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection
        self.places = embeddings.position_embeddings
        self.norm = embeddings.LayerNorm

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch patches dim"]:
        projected = self.projection(self.tower(pixels)[:, 1:])
        return self.norm(projected + self.places.weight[1 : projected.shape[1] + 1])


class VistaJoint(nn.Module):
    """A text, after the tokens of a picture if there are any, to its first token's state.

    The picture's tokens stand behind the text's first one. Without a picture there are none.
    """

    def __init__(self, embeddings: BertEmbeddings, encoder: BertEncoder) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = encoder

    def forward(
        self,
        input_ids: Int[Tensor, "batch n"],
        attention_mask: Int[Tensor, "batch n"],
        position_ids: Int[Tensor, "batch n"],
        image: Float[Tensor, "batch patches dim"],
    ) -> Float[Tensor, "batch dim"]:
        text = self.embeddings(
            input_ids=input_ids,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=position_ids,
        )
        states = torch.cat([text[:, :1], image, text[:, 1:]], dim=1)
        seen = torch.ones_like(image[:, :, 0])
        mask = attention_mask.to(states.dtype)
        mask = torch.cat([mask[:, :1], seen, mask[:, 1:]], dim=1)
        added = (1.0 - mask[:, None, None, :]) * MASKED
        return self.encoder(states, attention_mask=added).last_hidden_state[:, 0]


class Vista(nn.Module):
    """A whole checkpoint, under its own names but that `model_visual.visual` is `tower`."""

    def __init__(self, text: BertConfig, vision: EvaShape) -> None:
        super().__init__()
        self.bge_embeddings = BertEmbeddings(text)  # type: ignore[no-untyped-call]
        self.bge_encoder = BertEncoder(text)  # type: ignore[no-untyped-call]
        self.tower = EvaTower(vision)
        self.visual_proj = nn.Linear(vision.width, text.hidden_size)

    def image(self) -> VistaImage:
        """What reads pictures."""
        return VistaImage(self.tower, self.visual_proj, self.bge_embeddings)

    def joint(self) -> VistaJoint:
        """What reads texts, and pictures' tokens with them."""
        return VistaJoint(self.bge_embeddings, self.bge_encoder)
