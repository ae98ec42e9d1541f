"""CLIP4Clip's cross transformer, under the parameter names of the authors' checkpoints."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tamis.models.networks.clip import Layers, LayersShape, QuickGelu


class TightTransf(nn.Module):
    """One logit for a text's vectors and a video's frames, read as one sequence.

    The frames are all real: padding, which the authors mask, is left out instead.

    Args:
        shape: The transformer's sizes.
        positions: How long a sequence it can read.
    """

    def __init__(self, shape: LayersShape, positions: int) -> None:
        super().__init__()
        self.cross = nn.ModuleDict(
            {
                "embeddings": nn.ModuleDict(
                    {"position_embeddings": nn.Embedding(positions, shape.width)}
                ),
                "transformer": Layers(shape),
                "pooler": nn.ModuleDict(
                    {
                        "ln_pool": nn.LayerNorm(shape.width, eps=shape.epsilon),
                        "dense": nn.Linear(shape.width, shape.width),
                    }
                ),
            }
        )
        self.gelu = QuickGelu()
        self.similarity_dense = nn.Linear(shape.width, 1)

    def forward(
        self, query: Float[Tensor, "batch texts dim"], document: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, " batch"]:
        return self.similarity_dense(self.pooled(query, document))[:, 0]

    def pooled(
        self, query: Float[Tensor, "batch texts dim"], document: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch dim"]:
        """What the head reads of the first token."""
        states = torch.cat([query, document], dim=1)
        table = self.cross["embeddings"]["position_embeddings"].weight  # type: ignore[index]
        states = states + table[: states.shape[1]]
        for layer in self.cross["transformer"].resblocks:  # type: ignore[union-attr]
            states = layer(states)
        pooler = self.cross["pooler"]
        first = pooler["ln_pool"](states)[:, 0]  # type: ignore[index]
        pooled: Tensor = self.gelu(pooler["dense"](first))  # type: ignore[index]
        return pooled
