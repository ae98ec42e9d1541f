"""The language tower of a vision-language model, read once over a whole prompt.

Gemma's and Qwen2's decoders are one network with different constants. It is written here, and not
taken from a library, so that masks and positions are plain inputs: a graph of it takes any batch
and any length, and whether a token sees those after it is said and not left to a default.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderShape:
    """The sizes and constants of a decoder.

    Attributes:
        vocabulary: Tokens that it knows.
        width: Of a token's state.
        inner: Of the gated layer between.
        layers: How many.
        heads: Of the queries.
        key_heads: Of the keys and values; each serves `heads / key_heads` queries' heads.
        head_dim: Of one head.
        causal: Whether a token sees only itself and those before it.
        biased: Whether queries, keys and values have a bias.
        activation: Of the gate: ``silu`` or ``gelu_pytorch_tanh``.
        epsilon: Of the norms.
        norm_offset: Added to the norms' weights; Gemma stores them less 1.
        embedding_scale: What a word's embedding is multiplied by.
        theta: The base of the rotary wavelengths.
        sections: Frequencies that turn by each axis of a position; they sum to `head_dim / 2`.
    """

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    causal: bool
    biased: bool
    activation: str
    epsilon: float
    norm_offset: float
    embedding_scale: float
    theta: float
    sections: tuple[int, ...]


class Decoder(nn.Module):
    """Embedded tokens to their states after the last norm."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape)

    def words(self, input_ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """The tokens' embeddings, scaled."""
        embedded: Tensor = self.embed_tokens(input_ids)
        return embedded * self.shape.embedding_scale

    def forward(
        self,
        embedded: Float[Tensor, "batch length width"],
        attention_mask: Int[Tensor, "batch length"],
        positions: Int[Tensor, "axes batch length"],
    ) -> Float[Tensor, "batch length width"]:
        """The states of every token.

        Args:
            embedded: What `words` made, or visual tokens in their places.
            attention_mask: 1 for tokens, 0 for padding, on either side.
            positions: Along each axis of `sections`: one for a text, three for a picture in it.
        """
        bias = attention_bias(attention_mask, causal=self.shape.causal)
        cos, sin = rotation(positions, self.shape)
        states = embedded
        for layer in self.layers:
            states = layer(states, bias, cos, sin)
        normed: Tensor = self.norm(states)
        return normed


class Layer(nn.Module):
    """Attention, then a gated network, each beside the identity and after a norm."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape)
        self.mlp = Gated(shape)

    def forward(self, states: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        states = states + self.self_attn(self.input_layernorm(states), bias, cos, sin)
        changed: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return changed


class Attention(nn.Module):
    """Attention whose queries and keys are turned by their positions."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        own, shared = shape.heads * shape.head_dim, shape.key_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.width, own, bias=shape.biased)
        self.k_proj = nn.Linear(shape.width, shared, bias=shape.biased)
        self.v_proj = nn.Linear(shape.width, shared, bias=shape.biased)
        self.o_proj = nn.Linear(own, shape.width, bias=False)

    def forward(self, states: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = states.shape
        dim, repeats = self.shape.head_dim, self.shape.heads // self.shape.key_heads

        def heads(made: Tensor, count: int) -> Tensor:
            return made.view(batch, length, count, dim).transpose(1, 2)

        query = turned(heads(self.q_proj(states), self.shape.heads), cos, sin)
        key = turned(heads(self.k_proj(states), self.shape.key_heads), cos, sin)
        value = heads(self.v_proj(states), self.shape.key_heads)
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        joined: Tensor = self.o_proj(read.transpose(1, 2).reshape(batch, length, -1))
        return joined


class Gated(nn.Module):
    """A network whose inner layer is gated by another of the same input."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.gelu = {"silu": False, "gelu_pytorch_tanh": True}[shape.activation]
        self.gate_proj = nn.Linear(shape.width, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        gate = self.gate_proj(states)
        gate = F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)
        down: Tensor = self.down_proj(gate * self.up_proj(states))
        return down


class Norm(nn.Module):
    """Scales by the root of the mean square."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.epsilon, self.offset = shape.epsilon, shape.norm_offset
        self.weight = nn.Parameter(torch.ones(shape.width))

    def forward(self, states: Tensor) -> Tensor:
        scale = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return states * scale * (self.offset + self.weight)


def attention_bias(
    attention_mask: Int[Tensor, "batch length"], *, causal: bool
) -> Float[Tensor, "batch 1 queries length"]:
    """0 where a token is seen, and the lowest float where it is not.

    A row that sees nothing, which is padding's, then sees everything alike instead of being NaN.
    """
    seen = attention_mask[:, None, None, :].bool()
    if causal:
        order = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        seen = seen & (order[None, :] <= order[:, None])
    lowest = torch.finfo(torch.float32).min
    return torch.where(seen, 0.0, lowest)


def rotation(
    positions: Int[Tensor, "axes batch length"], shape: DecoderShape
) -> tuple[Float[Tensor, "batch 1 length dim"], Float[Tensor, "batch 1 length dim"]]:
    """Cosine and sine of what each pair of dimensions is turned by."""
    dim = shape.head_dim
    order = torch.arange(0, dim, 2, dtype=torch.float32, device=positions.device)
    wavelengths = shape.theta ** (-order / dim)
    angles = positions[..., None].float() * wavelengths
    parts = angles.split(list(shape.sections), dim=-1)  # type: ignore[no-untyped-call]
    chosen = torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
    both = torch.cat([chosen, chosen], dim=-1)[:, None]
    return both.cos(), both.sin()


def turned(parts: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair of dimensions (one of the first half, one of the second) turned by its angle."""
    first, second = parts.chunk(2, dim=-1)
    return parts * cos + torch.cat([-second, first], dim=-1) * sin
