"""Cap4Video's networks over CLIP's vectors, under the parameter names of the authors' checkpoints.

Only what a served video needs: the captions' side of the co-attention leads to no output.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.clip import Attention, TextTower
from tamis.models.networks.video import MeanP


class CoAttention(nn.Module):
    """Each frame takes something from the video's captions.

    Args:
        width: Of frames and captions.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.biattention = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query1", "key2", "value2")}
        )
        self.biOutput = nn.ModuleDict(
            {"dense1": nn.Linear(width, width), "LayerNorm1": nn.LayerNorm(width)}
        )
        self.v_intermediate = nn.ModuleDict({"dense": nn.Linear(width, width)})
        self.v_output = nn.ModuleDict(
            {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width)}
        )

    def forward(
        self, frames: Float[Tensor, "videos n dim"], captions: Float[Tensor, "videos m dim"]
    ) -> Float[Tensor, "videos n dim"]:
        query, key, value = (
            self.biattention[name](side).view(*side.shape[:2], self.heads, -1).transpose(1, 2)
            for name, side in (("query1", frames), ("key2", captions), ("value2", captions))
        )
        taken = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        states = self.biOutput["LayerNorm1"](frames + self.biOutput["dense1"](taken))
        inner = self.v_output["dense"](F.gelu(self.v_intermediate["dense"](states)))
        made: Tensor = self.v_output["LayerNorm"](states + inner)
        return made


class WeighedWords(nn.Module):
    """A text's vector, and one a token whose length is the token's weight.

    Args:
        tower: CLIP's.
        weigh: From a token's vector to what its weight's softmax is taken of; None if all are
            alike.
    """

    def __init__(self, tower: TextTower, weigh: nn.Module | None) -> None:
        super().__init__()
        self.tower = tower
        self.weigh = weigh

    def forward(
        self, input_ids: Int[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch n dim"]]:
        states = self.tower(input_ids) @ self.tower.text_projection
        ends = input_ids.argmax(dim=-1)
        places = torch.arange(input_ids.shape[1])
        there = (places <= ends[:, None]).to(torch.int64)
        return states[torch.arange(states.shape[0]), ends], weighed(states, there, self.weigh)


class WeighedFrames(nn.Module):
    """A video's vector, and one a frame whose length is the frame's weight.

    Args:
        takes: What its frames take from its captions.
        head: From frames to one vector.
        weigh: From a frame's vector to what its weight's softmax is taken of; None if all are
            alike.
    """

    def __init__(self, takes: CoAttention, head: MeanP, weigh: nn.Module | None) -> None:
        super().__init__()
        self.takes = takes
        self.head = head
        self.weigh = weigh

    def forward(
        self, frames: Float[Tensor, "videos n dim"], captions: Float[Tensor, "videos m dim"]
    ) -> tuple[Float[Tensor, "videos dim"], Float[Tensor, "videos n dim"]]:
        there = torch.ones(frames.shape[:2], dtype=torch.int64)
        mixed = self.head.mixed(self.takes(frames, captions), there)
        return self.head.pooled(mixed, there), weighed(mixed, there, self.weigh)


class CaptionLayer(nn.Module):
    """A transformer layer that norms after it adds."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, states: Float[Tensor, "videos m dim"]) -> Float[Tensor, "videos m dim"]:
        states = self.norm1(states + self.self_attn(states, causal=False))
        inner = self.linear2(F.relu(self.linear1(states)))
        made: Tensor = self.norm2(states + inner)
        return made


class Captions(nn.Module):
    """One vector of a video's captions: their mean, after a transformer over them if there is one.

    Args:
        layers: Of the transformer; none for the plain mean.
        positions: How many captions it can read.
        width: Of a caption's vector.
    """

    def __init__(self, layers: Sequence[CaptionLayer], positions: int, width: int) -> None:
        super().__init__()
        if layers:
            self.sentence_position_embeddings = nn.Embedding(positions, width)
        self.caption_transformer_encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    def forward(self, captions: Float[Tensor, "videos m dim"]) -> Float[Tensor, "videos dim"]:
        layers = cast(nn.ModuleList, self.caption_transformer_encoder["layers"])
        if len(layers):
            captions = captions + self.sentence_position_embeddings.weight[: captions.shape[1]]
        for layer in layers:
            captions = layer(captions)
        return F.normalize(captions.mean(dim=1), dim=-1)


def weighed(
    states: Float[Tensor, "batch n dim"], there: Int[Tensor, "batch n"], weigh: nn.Module | None
) -> Float[Tensor, "batch n dim"]:
    """The states' directions, each as long as its share of the weights."""
    logits = torch.zeros_like(states[..., 0]) if weigh is None else weigh(states)[..., 0]
    shares = torch.where(there > 0, logits, -torch.inf).softmax(dim=-1)
    return F.normalize(states, dim=-1) * shares[..., None]
