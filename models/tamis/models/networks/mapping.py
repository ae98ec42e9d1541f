"""PreFLMR's mapping network: a picture's patches look at each other, and at the words.

BERT's cross-attending layer under BERT's names. It is written here because the library makes the
layer a decoder's and then, with some of its attention kernels, lets no patch see those after it,
which is not the network that was trained.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


class MappingNetwork(nn.Module):
    """Some layers; every patch sees every patch and every word."""

    def __init__(self, config: Mapping[str, Any], layers: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(MappingLayer(config) for _ in range(layers))

    def forward(
        self,
        patches: Float[Tensor, "batch patches width"],
        words: Float[Tensor, "batch length width"],
    ) -> Float[Tensor, "batch patches width"]:
        states = patches
        for layer in self.layer:
            states = layer(states, words)
        return states


class MappingLayer(nn.Module):
    """Attention among patches, then to words, then a network; a norm after each."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        epsilon = config.get("layer_norm_eps", 1e-12)
        self.attention = Attention(width, config["num_attention_heads"], epsilon)
        self.crossattention = Attention(width, config["num_attention_heads"], epsilon)
        self.intermediate = Dense(width, inner)
        self.output = Output(inner, width, epsilon)

    def forward(self, patches: Tensor, words: Tensor) -> Tensor:
        states = self.attention(patches, patches)
        states = self.crossattention(states, words)
        changed: Tensor = self.output(F.gelu(self.intermediate(states)), states)
        return changed


class Attention(nn.Module):
    """Attention of one set to another, without any mask."""

    def __init__(self, width: int, heads: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        )
        self.output = Output(width, width, epsilon)

    def forward(self, states: Tensor, read: Tensor) -> Tensor:
        def heads(name: str, source: Tensor) -> Tensor:
            return self.self[name](source).unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads("query", states), heads("key", read), heads("value", read)
        )
        changed: Tensor = self.output(mixed.transpose(1, 2).flatten(2), states)
        return changed


class Dense(nn.Module):
    """A linear layer under BERT's name for it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, states: Tensor) -> Tensor:
        made: Tensor = self.dense(states)
        return made


class Output(Dense):
    """A linear layer beside the identity, and a norm."""

    def __init__(self, inputs: int, outputs: int, epsilon: float) -> None:
        super().__init__(inputs, outputs)
        self.LayerNorm = nn.LayerNorm(outputs, eps=epsilon)

    def forward(self, states: Tensor, beside: Tensor) -> Tensor:  # type: ignore[override]
        normed: Tensor = self.LayerNorm(self.dense(states) + beside)
        return normed
