"""What a causal language model remembers of a text, for presses to choose from.

For the Llama family and its like: rotary positions, turned halves against halves, and attention
with `q_proj` and `k_proj`, normalised or not. What else a network does shows when the keys that
these make are not those of its cache, and is refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from tamis.models.blocks.rotary import rotate
from tamis.models.contexts.key_values import KeptLayer
from tamis.models.errors import ModelError
from tamis.models.kv import LayerCache

# Whose angles depend on how long the text is, so that keys cannot be moved.
CHANGING = ("dynamic", "longrope")


@torch.no_grad()
def prefill(network: Any, ids: Sequence[int]) -> list[LayerCache | KeptLayer]:
    """What is remembered of tokens at positions from 0.

    Layers with a window come as they go on: with the last tokens that the next one sees.

    Raises:
        ModelError: The network's attention or its positions are of another kind.
    """
    decoder, kind = network.get_decoder(), network.config.model_type
    blocks = [getattr(block, "self_attn", None) for block in getattr(decoder, "layers", [])]
    told = all(hasattr(block, name) for block in blocks for name in ("q_proj", "k_proj"))
    if not blocks or not told or not hasattr(decoder, "rotary_emb"):
        raise ModelError(f"{kind}: not built as Llama is")
    rotations = [_rotation(decoder, number) for number in range(len(blocks))]
    cache = DynamicCache(config=network.config)
    with _projected(blocks) as projected:
        read = torch.tensor([list(ids)], device=network.device)
        network(read, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return [
        _layer(f"{kind}: layer {number}", *parts)
        for number, parts in enumerate(zip(cache.layers, blocks, projected, rotations, strict=True))
    ]


def _layer(
    name: str,
    cached: Any,
    attention: Any,
    projected: dict[str, Tensor],
    rotation: tuple[Float[np.ndarray, " half"], float],
) -> LayerCache | KeptLayer:
    frequencies, scale = rotation
    keys, values = _array(cached.keys[0]), _array(cached.values[0])
    unturned = _heads(projected["k_proj"], getattr(attention, "k_norm", None), attention.head_dim)
    tokens = unturned.shape[1]
    places = np.arange(tokens - keys.shape[1], tokens)
    turned = scale * rotate(unturned[:, places], places, frequencies)
    if not np.allclose(turned, keys, rtol=0, atol=0.05 * np.abs(keys).max()):
        raise ModelError(f"{name}: its keys are not turned as Llama turns them")
    if cached.is_sliding:
        positions = np.tile(places, (len(keys), 1))
        return KeptLayer(keys, values, positions, frequencies, cached.sliding_window)
    queries = _heads(projected["q_proj"], getattr(attention, "q_norm", None), attention.head_dim)
    # `LayerCache` divides by the root of the dimension, and knows no other scale.
    own = np.float32(scale * attention.scaling * np.sqrt(attention.head_dim))
    return LayerCache(keys, values, queries * own, frequencies)


@contextmanager
def _projected(blocks: Sequence[Any]) -> Iterator[list[dict[str, Tensor]]]:
    """What the projections of each block of attention make while the network runs."""
    found: list[dict[str, Tensor]] = [{} for _ in blocks]

    def keep(into: dict[str, Tensor], name: str) -> Any:
        return lambda module, inputs, output: into.update({name: output[0]})

    hooks = [
        getattr(block, name).register_forward_hook(keep(into, name))
        for block, into in zip(blocks, found, strict=True)
        for name in ("q_proj", "k_proj")
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _rotation(decoder: Any, number: int) -> tuple[Float[np.ndarray, " half"], float]:
    """A layer's rotary frequencies, and what keys and queries are multiplied by besides.

    Raises:
        ModelError: They change with the length, or turn but a part of the dimensions.
    """
    name, rotary = decoder.config.model_type, decoder.rotary_emb
    kinds = getattr(decoder.config, "layer_types", None)
    kind = kinds[number] if kinds else "full_attention"
    if kind not in ("full_attention", "sliding_attention"):
        raise ModelError(f"{name}: layer {number} is of the kind {kind!r}")
    # Gemma 3 turns its two kinds of layers by frequencies of their own.
    own = "" if hasattr(rotary, "inv_freq") else f"{kind}_"
    rope = rotary.rope_type[kind] if own else rotary.rope_type
    frequencies = _array(getattr(rotary, f"{own}inv_freq"))
    turned, dim = 2 * len(frequencies), decoder.layers[number].self_attn.head_dim
    if rope in CHANGING or turned != dim:
        raise ModelError(f"{name}: keys turned by {rope!r} in {turned} of {dim} dimensions")
    return frequencies, float(getattr(rotary, f"{own}attention_scaling"))


def _heads(flat: Tensor, norm: Any | None, dim: int) -> Float[np.ndarray, "heads tokens dim"]:
    """A projection's output head by head, normalised as the network does it."""
    by_head = norm is not None and norm.weight.shape[-1] == dim
    if norm is not None and not by_head:
        flat = norm(flat)
    heads = flat.view(len(flat), -1, dim)
    if norm is not None and by_head:
        heads = norm(heads)
    return _array(heads.transpose(0, 1))


def _array(tensor: Tensor) -> Float[np.ndarray, "..."]:
    made: np.ndarray = tensor.float().cpu().numpy()
    return made
