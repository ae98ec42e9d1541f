"""Fusion-in-Decoder: texts are encoded one by one, and a decoder attends to all of them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tamis.models.networks.naming import named_once


def fused(
    network: Any, ids: Int[Tensor, "groups texts tokens"], mask: Int[Tensor, "groups texts tokens"]
) -> tuple[Float[Tensor, "groups fused width"], Int[Tensor, "groups fused"]]:
    """The states of all texts of a group in one row, and a mask of what is not padding."""
    groups, texts, tokens = ids.shape
    states = network.get_encoder()(
        input_ids=ids.reshape(groups * texts, tokens),
        attention_mask=mask.reshape(groups * texts, tokens),
    ).last_hidden_state
    return states.reshape(groups, texts * tokens, -1), mask.reshape(groups, texts * tokens)


def order_named(
    network: Any,
    ids: Int[Tensor, "groups texts tokens"],
    mask: Int[Tensor, "groups texts tokens"],
    names: Int[Tensor, " texts"],
) -> Int[Tensor, "groups texts"]:
    """The texts of each group in the order in which the decoder names them.

    Args:
        network: A T5 of transformers.
        ids: Tokens, padded on the right.
        mask: What is not padding.
        names: The token that stands for each text.
    """
    states, seen = fused(network, ids, mask)
    start = torch.full((len(ids), 1), network.config.decoder_start_token_id, device=ids.device)
    past: Any = None

    def following(chosen: Tensor | None) -> Tensor:
        nonlocal past
        told = start if chosen is None else names[chosen.to(names.device)][:, None]
        made = network(
            encoder_outputs=(states,),
            attention_mask=seen,
            decoder_input_ids=told,
            past_key_values=past,
            use_cache=True,
        )
        past = made.past_key_values
        logits: Tensor = made.logits[:, -1, names]
        return logits

    return named_once(following, len(ids), len(names))
