"""Runs a Hugging Face language model's prefill, and lets visual tokens go between its layers.

For the Llama family and its like: a list of decoder layers with `input_layernorm` and `self_attn`
(`q_proj`, `k_proj`, `head_dim`, `scaling`), and one rotary embedding for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from tamis.models.keep_plan import KeepPlan, left_at_the_end
from tamis.models.refiners import LayerRefiner, Rows, Seen
from tamis.models.types import VisualTokens


@dataclass(slots=True)
class Prefilled:
    """What a prefill leaves.

    Attributes:
        states: Of the last layer, after the final norm; 1 x left x hidden.
        cache: Keys and values, layer by layer; early layers may hold more tokens than late ones.
        positions: Of what is left in the last layer.
        left: Of the image, by its own indices.
        counts: How many tokens each layer computed with.
        probes: For each pruning, how many rows of attention were looked at, over how many tokens.
        next_position: Where the next token stands.
    """

    states: Tensor
    cache: Any
    positions: Tensor
    left: np.ndarray
    counts: list[int] = field(default_factory=list)
    probes: list[tuple[int, int]] = field(default_factory=list)
    next_position: int = 0


@torch.no_grad()
def prefill(
    model: Any,
    embeds: Tensor,
    start: int,
    image: VisualTokens,
    refiner: LayerRefiner | None = None,
    positions: Tensor | None = None,
) -> Prefilled:
    """The prefill of one sequence with one image in it.

    Args:
        model: A decoder without its head, such as `LlamaModel`.
        embeds: What it reads, 1 x tokens x hidden.
        start: The image's first token in it.
        image: What the image's tokens are.
        refiner: Which of them go, and where; None for none.
        positions: Where each token stands, rising; None for one after another from 0.
    """
    if positions is None:
        positions = torch.arange(embeds.shape[1], device=embeds.device)
    run = _Run(model, embeds, positions, start, image)
    for number, layer in enumerate(model.layers):
        if refiner is not None and number in refiner.layers:
            run.prune(number, refiner)
        run.forward(layer)
    if refiner is not None and refiner.trims:
        run.trim()
    states = model.norm(run.states)
    after = int(positions[-1]) + 1
    return Prefilled(states, run.cache, run.positions, run.left, run.counts, run.probes, after)


@torch.no_grad()
def proceed(model: Any, prefilled: Prefilled, embed: Tensor) -> Tensor:
    """The state of one token more, 1 x 1 x hidden; the cache and the next position go on.

    Args:
        model: The same as in the prefill.
        prefilled: What it left. Layers may remember different tokens; the new one sees them all.
        embed: Of the token, 1 x 1 x hidden.
    """
    position = torch.tensor([[prefilled.next_position]], device=embed.device)
    turns = model.rotary_emb(embed, position)
    states = embed
    for layer in model.layers:
        out = layer(
            states,
            attention_mask=None,
            position_ids=position,
            past_key_values=prefilled.cache,
            use_cache=True,
            position_embeddings=turns,
        )
        states = out[0] if isinstance(out, tuple) else out
    prefilled.next_position += 1
    made: Tensor = model.norm(states)
    return made


class _Run:
    """A prefill in progress."""

    def __init__(
        self, model: Any, embeds: Tensor, positions: Tensor, start: int, image: VisualTokens
    ) -> None:
        self.model, self.start, self.image = model, start, image
        self.states = embeds
        self.before = embeds  # what the layer before read
        self.positions = positions
        self.left = np.arange(len(image))
        self.cache: Any = DynamicCache()
        self.counts: list[int] = []
        self.probes: list[tuple[int, int]] = []
        self._turns, self._mask = self._of_length()
        self._at: list[int] = []  # the layers before which tokens went
        self._kept: list[np.ndarray] = []  # what stayed then, of the whole sequence

    def forward(self, layer: nn.Module) -> None:
        self.before = self.states
        out = layer(
            self.states,
            attention_mask=self._mask,
            position_ids=self.positions[None],
            past_key_values=self.cache,
            use_cache=True,
            position_embeddings=self._turns,
        )
        self.states = out[0] if isinstance(out, tuple) else out
        self.counts.append(self.states.shape[1])

    def prune(self, number: int, refiner: LayerRefiner) -> None:
        count, stop = self.states.shape[1], self.start + len(self.left)
        rows = torch.arange(count - 1 if refiner.rows is Rows.LAST else stop, count)
        attention = self._attention(number - 1, rows.to(self.states.device))
        seen = Seen(self.image, self.left, attention[:, self.start : stop].cpu().numpy())
        plan = refiner.keep(number, seen)
        self.states = self._applied(plan, self.states[0], stop)[None]
        self.positions = self._applied(plan, self.positions.double()[:, None], stop)[:, 0].long()
        around = np.arange(self.start), np.arange(stop, count)
        self._kept.append(np.concatenate([around[0], self.start + plan.kept, around[1]]))
        self._at.append(number)
        self.left = self.left[plan.kept]
        self._turns, self._mask = self._of_length()

    def trim(self) -> None:
        """Cuts the caches of the layers before each pruning to what is left at the end."""
        begin = 0
        for end, left in zip(self._at, left_at_the_end(self._kept), strict=True):
            index = torch.from_numpy(left).to(self.states.device)
            for layer in self.cache.layers[begin:end]:
                layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]
            begin = end

    def _of_length(self) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """What all layers share until tokens go: the rotations, and the mask of later tokens."""
        count, lowest = self.states.shape[1], torch.finfo(self.states.dtype).min
        mask = self.states.new_full((count, count), lowest).triu(1)[None, None]
        return self.model.rotary_emb(self.states, self.positions[None]), mask

    def _attention(self, number: int, rows: Tensor) -> Tensor:
        """What some rows gave each token in a layer that has run: the mean over its heads."""
        layer, key = self.model.layers[number], self.cache.layers[number].keys
        block = layer.self_attn
        query = block.q_proj(layer.input_layernorm(self.before[:, rows]))
        query = query.view(1, len(rows), -1, block.head_dim).transpose(1, 2)
        cosine, sine = (turns[:, rows] for turns in self._turns)
        query, _ = apply_rotary_pos_emb(query, query, cosine, sine)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        logits = query @ key.transpose(2, 3) * block.scaling
        later = torch.arange(key.shape[2], device=rows.device)[None] > rows[:, None]
        shares = logits.masked_fill(later, float("-inf")).softmax(-1)
        self.probes.append((len(rows), key.shape[2]))
        made: Tensor = shares.mean(1)[0].float()
        return made

    def _applied(self, plan: KeepPlan, values: Tensor, stop: int) -> Tensor:
        """A sequence with the plan applied to its image part."""
        parts: Sequence[Tensor] = (
            values[: self.start],
            torch.from_numpy(plan.matrix(len(self.left))).to(values) @ values[self.start : stop],
            values[stop:],
        )
        return torch.cat(list(parts))
