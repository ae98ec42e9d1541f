"""Runs a Hugging Face CLIP vision tower, and lets visual tokens go after one of its layers.

Of attention only the row of [CLS] is looked at, in the layers whose tokens are handed out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.models.refiners import VisualRefiner
from tamis.models.types import VisualTokens


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a tower makes of one image.

    Attributes:
        tokens: Its features without [CLS], with what [CLS] gave them in the layer that made them,
            and that layer's keys, all heads side by side.
        counts: How many tokens each layer computed with, [CLS] among them.
        probes: How many tokens each row of attention that was looked at is over.
    """

    tokens: VisualTokens
    counts: list[int]
    probes: list[int]


@torch.no_grad()
def encode(
    tower: Any, pixels: Tensor, depth: int, refiner: VisualRefiner | None = None, after: int = 0
) -> Encoded:
    """The tokens of one image after some of a tower's layers.

    Args:
        tower: Such as `CLIPVisionModel`.
        pixels: 1 x 3 x height x width.
        depth: How many layers run; at least 1.
        refiner: What lets tokens go inside the tower; None for nothing.
        after: The layer that it follows, from 0.
    """
    states = tower.pre_layrnorm(tower.embeddings(pixels))
    patch = tower.config.patch_size
    grid = pixels.shape[2] // patch, pixels.shape[3] // patch
    positions = np.arange(grid[0] * grid[1])
    counts, probes = [], []
    tokens: VisualTokens | None = None
    for number, layer in enumerate(tower.encoder.layers[:depth]):
        counts.append(states.shape[1])
        prunes = refiner is not None and number == after
        if not prunes and number + 1 < depth:
            states = _run(layer, states)
            continue
        with _projected(layer.self_attn) as (queries, keys):
            states = _run(layer, states)
        shares = _summary_shares(layer.self_attn, queries[0], keys[0])
        probes.append(len(shares) + 1)
        own = _array(keys[0][0, 1:])
        tokens = VisualTokens(_array(states[0, 1:]), shares, positions, grid, own)
        if prunes and refiner is not None:
            tokens = refiner.refine(tokens)
            left = torch.from_numpy(tokens.embeddings).to(states)[None]
            states = torch.cat([states[:, :1], left], dim=1)
            positions = tokens.positions
    if tokens is None:
        raise ValueError(f"depth must be at least 1 layer, not {depth}")
    return Encoded(tokens, counts, probes)


def _run(layer: Any, states: Tensor) -> Tensor:
    out = layer(states, attention_mask=None)
    made: Tensor = out[0] if isinstance(out, tuple) else out
    return made


@contextmanager
def _projected(block: Any) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """What a block of attention makes of its queries and its keys while it runs."""
    caught: tuple[list[Tensor], list[Tensor]] = [], []
    hooks = [
        linear.register_forward_hook(lambda _module, _read, made, into=into: into.append(made))
        for linear, into in zip((block.q_proj, block.k_proj), caught, strict=True)
    ]
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _summary_shares(block: Any, queries: Tensor, keys: Tensor) -> np.ndarray:
    """What [CLS] gives each patch: the mean over the heads, as shares of what all are given."""
    query = queries[0, :1].view(1, block.num_heads, block.head_dim).transpose(0, 1)
    key = keys[0].view(keys.shape[1], block.num_heads, block.head_dim).permute(1, 2, 0)
    given = (query @ key * block.scale).float().softmax(-1).mean(0)[0, 1:]
    return _array(given / given.sum())


def _array(tensor: Tensor) -> np.ndarray:
    made: np.ndarray = tensor.float().cpu().numpy()
    return made
