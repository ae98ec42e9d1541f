"""Exports decoders: causal language models, with their attention state as input and output.

Llama, Mistral, Qwen, Gemma, GPT-2 and OPT, small enough for ONNX Runtime: `*ForCausalLM`.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tamis.models.errors import ModelError
from tamis.models.export import language
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.networks.cached import CachedDecoder
from tamis.models.runtimes.onnx_decoder import METHOD, DecoderRecipe

DECODERS = {
    "gemma", "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "opt", "qwen2", "qwen3",
}  # fmt: skip
DYNAMIC = {
    "input_ids": {0: "batch", 1: "length"},
    "attention_mask": {0: "batch", 1: "length"},
    "past": {2: "batch", 4: "before"},
    "past_mask": {0: "batch", 1: "before"},
    "kept": {0: "batch", 1: "kept"},
}
# Rows, their tokens, the tokens before them, the places asked for: read whole, gone on from, one
# more token, and one row by itself.
SHAPES = [(3, 12, 7, 2), (2, 9, 0, 3), (4, 1, 15, 1), (1, 1, 0, 1)]


def reads(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is a decoder that answers in words."""
    architectures = checkpoint.config.get("architectures") or [""]
    known = checkpoint.config.get("model_type") in DECODERS
    return known and architectures[0].endswith(("ForCausalLM", "LMHeadModel"))


def export(checkpoint: Checkpoint, draft: Draft) -> DecoderRecipe:
    """Writes the graph `decoder.onnx` and the tokenizer.

    Settings: `max_tokens`, of a prompt and its answer together (the model's own limit).

    Raises:
        ModelError: The checkpoint is no such decoder, or a tensor is missing or unknown.
    """
    if not reads(checkpoint):
        raise ModelError(f"{checkpoint.name}: config.json: not a decoder that can be exported")
    network = language.built(checkpoint, AutoModelForCausalLM)
    positions = network.config.max_position_embeddings
    layers, heads, head_dim = shape = _state_shape(network.config)
    reading = language.read_texts(checkpoint, network)
    first, *more = [_case(shape, network.config.vocab_size, *sizes) for sizes in SHAPES]
    draft.graph(
        "decoder", CachedDecoder(network), ["logits", "state"], [first], dynamic=DYNAMIC, drawn=more
    )
    tokenizer = reading.tokenizer
    marks = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    return DecoderRecipe(
        name=draft.name(checkpoint),
        method=METHOD,
        licence=draft.options.licence,
        files={},
        max_tokens=language.max_tokens(draft, positions, limit=positions),
        vocabulary=network.config.vocab_size,
        layers=layers,
        heads=heads,
        head_dim=head_dim,
        chat_template=tokenizer.chat_template or "",
        marks={key: mark for key, mark in marks.items() if mark},
        **language.write_texts(draft, reading),
    )


def _state_shape(config: Any) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and the dimensions of a head."""
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, head_dim


def _case(
    shape: tuple[int, int, int], vocabulary: int, batch: int, length: int, before: int, kept: int
) -> dict[str, Tensor]:
    """Rows of drawn tokens, the first of them padded on the right."""
    drawn = torch.Generator().manual_seed(length)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, max(1, length - 2) :] = 0
    return {
        "input_ids": torch.randint(0, vocabulary, (batch, length), generator=drawn),
        "attention_mask": mask,
        "past": language.state_like(shape, batch, before, seed=length),
        "past_mask": torch.ones(batch, before, dtype=torch.long),
        "kept": torch.arange(kept).expand(batch, kept).contiguous(),
    }
