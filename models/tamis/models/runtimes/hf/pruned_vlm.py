"""A LLaVA that answers from fewer visual tokens: hooks from the vision tower to the cache.

    picture -> vision tower -> projector -> language model -> cache -> answer

One visual refiner may act after a layer of the tower, on what the tower makes, or on what the
projector makes of that; one layer refiner between the layers of the language model, and on the
cache at the end of the prefill. Where, and with which positions, is data: `Pruning`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tamis.models.blocks import flops
from tamis.models.errors import InputError, ModelError
from tamis.models.networks.pruned_prefill import Prefilled, prefill, proceed
from tamis.models.networks.pruned_tower import encode
from tamis.models.pruning import NOTHING, Place, Pruning
from tamis.models.types import VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """Operations by part; see `blocks.flops` for what is counted.

    Attributes:
        tower: The vision tower's layers that ran, and its patches.
        projector: The projector.
        language: The language model's layers, and its head for the next token.
        probes: The rows of attention that refiners looked at.
    """

    tower: int = 0
    projector: int = 0
    language: int = 0
    probes: int = 0

    @property
    def total(self) -> int:
        """All parts."""
        return self.tower + self.projector + self.language + self.probes


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the language model is given it; any number of prompts can be read after it.

    Attributes:
        tokens: What is left, in the language model's width, with the tower's attention.
        flops: What it took.
        took_s: How long it took.
    """

    tokens: VisualTokens
    flops: Flops
    took_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt that was read.

    Attributes:
        logits: Of the next token.
        prefilled: What the prefill left.
        positions: The places in the picture's grid of the tokens that were left in the last layer.
        flops: What it took without the picture.
        took_s: How long it took without the picture.
    """

    logits: Float[np.ndarray, " vocabulary"]
    prefilled: Prefilled
    positions: np.ndarray
    flops: Flops
    took_s: float


class PrunedVlm:
    """A `LlavaForConditionalGeneration` of a CLIP tower and a decoder like Llama.

    Raises:
        ModelError: The network is built in another way, or the pruning is of layers that it has
            not.
    """

    def __init__(self, network: Any, pruning: Pruning = NOTHING) -> None:
        self._network, self._config = network, network.config
        inner = getattr(network, "model", None)
        self._projector: Any = getattr(inner, "multi_modal_projector", None)
        self._decoder: Any = getattr(inner, "language_model", None)
        tower = getattr(inner, "vision_tower", None)
        self._tower = getattr(tower, "vision_model", tower)
        self._depth = _depth(self._config, self._tower, self._projector, self._decoder)
        self.pruning = pruning
        self._check()

    @property
    def layers(self) -> int:
        """Of the language model."""
        return len(self._decoder.layers)

    def pruned_by(self, pruning: Pruning) -> "PrunedVlm":
        """The same network with another pruning."""
        return PrunedVlm(self._network, pruning)

    @torch.no_grad()
    def look(self, pixels: Tensor) -> Picture:
        """What is left of a picture before the language model.

        Args:
            pixels: As the checkpoint's processor makes them, 1 x 3 x height x width.
        """
        began, own = time.perf_counter(), self.pruning
        pixels = pixels.to(self._network.device, self._network.dtype)
        inside = own.visual if own.place is Place.TOWER else None
        encoded = encode(self._tower, pixels, self._depth, inside, own.after)
        tokens = encoded.tokens
        if own.visual is not None and own.place is Place.ENCODED:
            tokens = own.visual.refine(tokens)
        features = torch.from_numpy(tokens.embeddings)[None].to(pixels)
        projected = self._projector(features)[0].float().cpu().numpy()
        count = len(tokens)
        tokens = replace(tokens, embeddings=projected)
        if own.visual is not None and own.place is Place.PROJECTED:
            tokens = own.visual.refine(tokens)
        took = time.perf_counter() - began
        return Picture(tokens, self._seeing(encoded.counts, encoded.probes, count), took)

    @torch.no_grad()
    def read(self, picture: Picture, ids: Sequence[int]) -> Reading:
        """Reads a prompt with the picture in it.

        Args:
            picture: What `look` made.
            ids: The prompt as `forward` takes it: one image token for each place of the grid.

        Raises:
            InputError: The prompt's image tokens are not one run of that length.
        """
        began, tokens = time.perf_counter(), picture.tokens
        whole = tokens.grid[0] * tokens.grid[1]
        start = self._start(ids, whole)
        given = torch.tensor(ids, device=self._network.device)
        words = self._network.get_input_embeddings()(given)
        visual = torch.from_numpy(tokens.embeddings).to(words)
        embeds = torch.cat([words[:start], visual, words[start + whole :]])[None]
        prefilled = prefill(
            self._decoder,
            embeds,
            start,
            tokens,
            self.pruning.inside,
            self._positions(tokens, start, len(ids) - whole - start).to(words.device),
        )
        logits = self._next(prefilled.states)
        took = time.perf_counter() - began
        places = tokens.positions[prefilled.left]
        return Reading(logits, prefilled, places, self._reading(prefilled), took)

    @torch.no_grad()
    def generate(
        self, picture: Picture, ids: Sequence[int], max_tokens: int, end_ids: Sequence[int] = ()
    ) -> list[int]:
        """The likeliest tokens one after another, from the pruned cache on.

        Args:
            picture: What `look` made.
            ids: See `read`.
            max_tokens: At most.
            end_ids: What ends an answer; it is not among the tokens returned.
        """
        reading, made = self.read(picture, ids), list[int]()
        logits = reading.logits
        while len(made) < max_tokens and (token := int(logits.argmax())) not in end_ids:
            made.append(token)
            if len(made) < max_tokens:
                last = torch.tensor([[token]], device=self._network.device)
                embed = self._network.get_input_embeddings()(last)
                logits = self._next(proceed(self._decoder, reading.prefilled, embed))
        return made

    def _next(self, states: Tensor) -> Float[np.ndarray, " vocabulary"]:
        made: np.ndarray = self._network.lm_head(states[0, -1]).float().cpu().numpy()
        return made

    def _start(self, ids: Sequence[int], whole: int) -> int:
        """Where the picture begins in a prompt."""
        own = self._config.image_token_id
        places = [place for place, token in enumerate(ids) if token == own]
        if len(places) != whole or places[-1] - places[0] != whole - 1:
            raise InputError(
                f"a prompt with {len(places)} image tokens; this model wants {whole} in one run"
            )
        if places[-1] + 1 == len(ids):
            raise InputError("a prompt that ends with its picture; there is nothing to answer")
        return places[0]

    def _positions(self, tokens: VisualTokens, start: int, after: int) -> Tensor:
        """Where each token stands that the language model is given."""
        if self.pruning.packed:
            return torch.arange(start + len(tokens) + after)
        end = start + tokens.grid[0] * tokens.grid[1]
        visual = torch.from_numpy(start + tokens.positions)
        return torch.cat([torch.arange(start), visual, end + torch.arange(after)])

    def _check(self) -> None:
        own = self.pruning
        if own.visual is not None and own.place is Place.TOWER:
            last = self._depth - 1
            if not 0 <= own.after <= last:
                raise ModelError(f"pruning after the tower's layer {own.after}; {last} is the last")
        layers = () if own.inside is None else own.inside.layers
        if layers and not 1 <= min(layers) <= max(layers) < self.layers:
            raise ModelError(
                f"pruning before layers {list(layers)}; the model has layers 0 to {self.layers - 1}"
            )

    def _seeing(self, counts: list[int], probes: list[int], projected: int) -> Flops:
        """What a picture took."""
        own = self._config.vision_config
        layer = flops.Layer(
            hidden=own.hidden_size,
            queries=own.hidden_size,
            keys=own.hidden_size,
            inner=own.intermediate_size,
        )
        width = self._config.text_config.hidden_size
        patches = flops.linear(counts[0] - 1, own.num_channels * own.patch_size**2, own.hidden_size)
        return Flops(
            tower=patches + flops.total(layer, counts),
            projector=flops.linear(projected, own.hidden_size, width, width),
            probes=sum(layer.probe_flops(1, count) for count in probes),
        )

    def _reading(self, prefilled: Prefilled) -> Flops:
        """What a prompt took."""
        own, block = self._config.text_config, self._decoder.layers[0].self_attn
        layer = flops.Layer(
            hidden=own.hidden_size,
            queries=own.num_attention_heads * block.head_dim,
            keys=own.num_key_value_heads * block.head_dim,
            inner=own.intermediate_size,
            matrices=3,
        )
        query = flops.linear(1, own.hidden_size, layer.queries)
        return Flops(
            language=flops.total(layer, prefilled.counts)
            + flops.linear(1, own.hidden_size, own.vocab_size),
            probes=sum(
                rows * query + layer.probe_flops(rows, count) for rows, count in prefilled.probes
            ),
        )


def _depth(config: Any, tower: Any, projector: Any, decoder: Any) -> int:
    """How many of the tower's layers run.

    Raises:
        ModelError: The network is not built as LLaVA is.
    """
    kind = config.model_type
    if projector is None or not hasattr(decoder, "rotary_emb"):
        raise ModelError(f"{kind}: not built as LLaVA over a decoder like Llama is")
    if not hasattr(tower, "pre_layrnorm") or not hasattr(tower.embeddings, "class_embedding"):
        raise ModelError(f"{kind}: its vision tower is not CLIP's")
    if config.vision_feature_select_strategy != "default":
        raise ModelError(f"{kind}: keeps [CLS] among the visual tokens")
    layer, layers = config.vision_feature_layer, len(tower.encoder.layers)
    if not isinstance(layer, int):
        raise ModelError(f"{kind}: its features are of several layers: {layer}")
    depth = layer if layer >= 0 else layers + 1 + layer
    if not 1 <= depth <= layers:
        raise ModelError(f"{kind}: its features are of layer {layer} of {layers}")
    return depth
