"""Poly-encoder's query side: a few vectors a text, each from its own look at the tokens."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tamis.models.networks.bert import Mask, States, token_states

ATTENTIONS = ("basic", "sqrt")


def attended(
    codes: Float[Tensor, "codes width"], states: States, mask: Mask, attention: str
) -> tuple[Float[Tensor, "texts codes width"], Float[Tensor, "texts codes length"]]:
    """What each code reads of each text, and how much of it is from each token.

    Args:
        codes: The learned queries.
        states: The texts' token states.
        mask: 1 for real tokens.
        attention: ``basic`` for the plain product of code and state; ``sqrt`` divides it by the
            root of the width.
    """
    logits = codes @ states.transpose(1, 2)
    if attention == "sqrt":
        logits = logits / math.sqrt(states.shape[2])
    shares = logits.masked_fill(mask[:, None] == 0, float("-inf")).softmax(dim=-1)
    return shares @ states, shares


class Codes(nn.Module):
    """A text's vectors through learned codes, under ParlAI's name for these."""

    def __init__(self, backbone: nn.Module, codes: int, width: int, attention: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.codes = nn.Parameter(torch.zeros(codes, width))
        self.attention = attention

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Float[Tensor, "texts codes width"]:
        states = token_states(self.backbone, input_ids, attention_mask)
        return attended(self.codes, states, attention_mask, self.attention)[0]


class First(nn.Module):
    """A text's first states, as they are."""

    def __init__(self, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.count = count

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Float[Tensor, "texts first width"]:
        return token_states(self.backbone, input_ids, attention_mask)[:, : self.count]


class One(nn.Module):
    """A document's one vector, as a single row."""

    def __init__(
        self, backbone: nn.Module, pooling: Callable[[States, Mask], Float[Tensor, "texts width"]]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Float[Tensor, "texts 1 width"]:
        states = token_states(self.backbone, input_ids, attention_mask)
        return self.pooling(states, attention_mask)[:, None]
