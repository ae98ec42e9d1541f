"""Reads a text once, keeps what a press leaves of its key-value cache, and goes on from there."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer

from tamis.models.contexts.artefact import Artefact
from tamis.models.contexts.key_values import KeyValues, PositionMode, compressed
from tamis.models.contexts.kinds import Provenance
from tamis.models.errors import InputError
from tamis.models.refiners import KVRefiner
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.model import HfNetwork
from tamis.models.runtimes.hf.prefill import prefill

SAMPLE = 1024  # numbers of each weight that tell one model from another


class ContextModel(HfNetwork):
    """A causal language model that writes contexts and goes on from them.

    Raises:
        ModelError: The checkpoint cannot be opened.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        network = checkpoint.network(AutoModelForCausalLM)
        super().__init__(checkpoint, network, checkpoint.tokenizer())
        self._provenance = Provenance(
            model=str(network.config.model_type),
            revision=_weights_digest(network),
            tokenizer=_digest(self._reading.tokenizer.backend_tokenizer.to_str().encode()),
            rope=_rope_digest(network),
        )

    @property
    def fingerprint(self) -> str:
        """A short digest of the weights, the tokenizer and the rotary frequencies."""
        return _digest(json.dumps(asdict(self._provenance), sort_keys=True).encode())

    def write(self, text: str, press: KVRefiner, documents: Sequence[str] = ()) -> Artefact:
        """What `press` leaves of a text, in original positions.

        Args:
            text: What is read, from the beginning of a sequence.
            press: Which tokens stay.
            documents: Digests of what the text is made of.

        Raises:
            InputError: The text is empty, or longer than the model reads.
            ModelError: The network's cache is of another kind.
        """
        ids = [*self._reading.texts.start, *self._reading.texts.ids(text)]
        room = getattr(self._network.config, "max_position_embeddings", len(ids))
        if not 0 < len(ids) <= room:
            raise InputError(f"a context of {len(ids)} tokens; the model reads from 1 to {room}")
        with self._run(torch.ones(1, len(ids))):
            cache = compressed(prefill(self._network, ids), len(ids), press)
        made = asdict(self._provenance) | {
            "method": type(press).__module__.rpartition(".")[2],
            "settings": asdict(press),
            "documents": tuple(documents),
        }
        return Artefact(cache, Provenance(**made))

    def resume(self, artefact: Artefact) -> DynamicCache:
        """The cache that `forward` and `generate` go on from; see `to_hf`.

        Raises:
            InputError: The context is no cache, or another model's.
        """
        if not isinstance(artefact.payload, KeyValues):
            raise InputError("the context is not a key-value cache")
        for name in ("model", "revision", "tokenizer", "rope"):
            wanted, own = getattr(artefact.provenance, name), getattr(self._provenance, name)
            if wanted != own:
                raise InputError(f"the context's {name} is {wanted!r}; this model's is {own!r}")
        return to_hf(artefact.payload, self._network)


def to_hf(cache: KeyValues, network: Any) -> DynamicCache:
    """The cache as transformers goes on from it, in `forward` and in `generate`.

    In original positions the next token stands at T, and `generate` wants T ids before its own:
    those of the context do. In shifted or packed ones it is n, and any n ids do; without windows
    such a cache holds plain `DynamicLayer`s, whose slots are what positions are counted by.

    Raises:
        InputError: The network's layers are others.
    """
    made = DynamicCache(config=network.config)
    layers: list[Any] = made.layers
    weight = next(network.parameters())
    if len(layers) != len(cache.layers):
        raise InputError(f"a context of {len(cache.layers)} layers; there are {len(layers)}")
    for number, (layer, kept) in enumerate(zip(layers, cache.layers, strict=True)):
        window = getattr(layer, "sliding_window", 0)
        if window != kept.window:
            raise InputError(f"layer {number}: a window of {kept.window}; there it is {window}")
        if not window and cache.mode is PositionMode.ORIGINAL:
            layers[number] = layer = PrunedLayer(cache.tokens - cache.kept)
        keys, values = (
            torch.from_numpy(array.copy())[None].to(weight.device, weight.dtype)
            for array in (kept.keys, kept.values)
        )
        layer.update(keys, values)
        if window:
            layer.cumulative_length = cache.next_position
    return made


class PrunedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Has slots for some of the tokens that were read, and positions for all of them."""

    def __init__(self, dropped: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dropped = dropped

    def get_seq_length(self) -> int:
        return super().get_seq_length() + self.dropped

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return super().get_seq_length() + query_length, self.dropped


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _weights_digest(network: Any) -> str:
    """Of the first numbers of every weight: training moves them all."""
    parts = [
        name.encode() + weight.flatten()[:SAMPLE].float().cpu().numpy().tobytes()
        for name, weight in sorted(network.state_dict().items())
    ]
    return _digest(b"".join(parts))


def _rope_digest(network: Any) -> str:
    settings = getattr(network.config.get_text_config(), "rope_parameters", None)
    return _digest(json.dumps(settings, sort_keys=True).encode())
