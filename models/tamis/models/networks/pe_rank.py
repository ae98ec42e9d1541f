"""PE-Rank: a language model that reads a passage as one vector and names it by that vector."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tamis.models.networks.naming import named_once


class Projector(nn.Module):
    """From the space of a text encoder to that of the language model's own embeddings."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, "n width"]:
        return self.layers(embeddings)


def order_named(
    network: Any, inputs: Float[Tensor, "tokens width"], passages: Float[Tensor, "n width"]
) -> list[int]:
    """The passages in the order in which the network names them.

    The vocabulary of an answer is the passages that are left: the logit of one is the product of
    its vector with the last state. Its vector is also what the network reads next.

    Args:
        network: A decoder of transformers.
        inputs: The prompt's embeddings, with the passages' in their places.
        passages: The passages' vectors.
    """
    past: Any = None

    def following(chosen: Tensor | None) -> Tensor:
        nonlocal past
        told = inputs if chosen is None else passages[chosen.to(passages.device)]
        made = network.base_model(inputs_embeds=told[None], past_key_values=past, use_cache=True)
        past = made.past_key_values
        logits: Tensor = made.last_hidden_state[:, -1] @ passages.T
        return logits

    named: list[int] = named_once(following, 1, len(passages))[0].tolist()
    return named
