"""TEAM's alignment blocks, under the parameter names of the authors' checkpoints."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

HEAD_WIDTH = 64


class Block(nn.Module):
    """Looks up, for each text token, what the image has to say about it.

    Args:
        dim: Of a token.
        heads: Of each attention.
        inner: The width between the two linear maps.
    """

    def __init__(self, dim: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ffn = nn.ModuleDict({"fc1": nn.Linear(dim, inner), "fc2": nn.Linear(inner, dim)})

    def forward(
        self,
        text: Float[Tensor, "batch words dim"],
        image: Float[Tensor, "batch patches dim"],
        found: Float[Tensor, "batch words dim"],
    ) -> Float[Tensor, "batch words dim"]:
        states = self.norm1(found)
        places = text + states
        found = found + self.self_attn(places, places, states, need_weights=False)[0]
        asked = text + self.norm2(found)
        found = found + self.cross_attn(asked, image, image, need_weights=False)[0]
        inner = F.gelu(self.ffn["fc1"](self.norm3(found)))
        return found + self.ffn["fc2"](inner)


class Team(nn.Module):
    """The mean cosine of each text token with what the last block found for it in the image.

    No token is padding: texts of one length are given together.
    """

    def __init__(self, dim: int, heads: int, inner: int, blocks: int, shared: int) -> None:
        super().__init__()
        self.team_block_list = nn.ModuleList(Block(dim, heads, inner) for _ in range(blocks))
        self.image_tensor_fc = nn.Linear(dim, shared)
        self.text_tensor_fc = nn.Linear(dim, shared)

    def forward(
        self, text: Float[Tensor, "batch words dim"], image: Float[Tensor, "batch patches dim"]
    ) -> Float[Tensor, " batch"]:
        found = torch.zeros_like(text)
        for block in self.team_block_list:
            found = block(text, image, found)
        told, seen = self.text_tensor_fc(text), self.image_tensor_fc(found)
        return F.cosine_similarity(told, seen, dim=-1, eps=1e-12).mean(dim=1)
