"""Exports encoder-decoders: T5 and its kin, such as monoT5's checkpoints and FLAN-T5.

The encoder's graph ends in the keys and values of the decoder's layers, so that each token of an
answer costs a run of the decoder alone.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from tamis.models.errors import ModelError
from tamis.models.export import language
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.networks.cached import CachedAnswer, Encoder
from tamis.models.runtimes.onnx_encoder_decoder import METHOD, EncoderDecoderRecipe

KIN = {"t5", "mt5"}
TRAINED_ON = 512  # tokens of a text: positions are relative and have no limit of their own
LIMIT = 1 << 20
DYNAMIC = {
    "input_ids": {0: "batch", 1: "length"},
    "past": {2: "batch", 4: "before"},
    "memory": {2: "batch", 4: "source"},
    "memory_mask": {0: "batch", 1: "source"},
}
# Rows, tokens of an answer, those before them, tokens of the text.
SHAPES = [(3, 4, 5, 9), (2, 3, 0, 6), (4, 1, 7, 5), (1, 1, 0, 1)]


def reads(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is an encoder-decoder that answers in words."""
    architectures = checkpoint.config.get("architectures") or [""]
    known = checkpoint.config.get("model_type") in KIN
    return known and architectures[0].endswith(("ForConditionalGeneration", "WithLMHeadModel"))


def export(checkpoint: Checkpoint, draft: Draft) -> EncoderDecoderRecipe:
    """Writes the graphs `encoder.onnx` and `decoder.onnx`, and the tokenizer.

    Settings: `max_tokens`, of a text that is read (512).

    Raises:
        ModelError: The checkpoint is no such encoder-decoder, or a tensor is missing or unknown.
    """
    if not reads(checkpoint):
        raise ModelError(f"{checkpoint.name}: config.json: not an encoder-decoder of T5's kind")
    network = language.built(checkpoint, AutoModelForSeq2SeqLM)
    config = network.config
    reading = language.read_texts(checkpoint, network)
    texts = [_text(config.vocab_size, *sizes) for sizes in [(3, 9), (2, 6), (1, 1)]]
    axes = {name: {0: "batch", 1: "source"} for name in ("input_ids", "attention_mask")}
    draft.graph("encoder", Encoder(network), ["memory"], texts[:1], dynamic=axes, drawn=texts[1:])
    first, *more = [_case(config, *sizes) for sizes in SHAPES]
    draft.graph(
        "decoder", CachedAnswer(network), ["logits", "state"], [first], dynamic=DYNAMIC, drawn=more
    )
    return EncoderDecoderRecipe(
        name=draft.name(checkpoint),
        method=METHOD,
        licence=draft.options.licence,
        files={},
        max_tokens=language.max_tokens(draft, TRAINED_ON, limit=LIMIT),
        vocabulary=config.vocab_size,
        layers=config.num_decoder_layers,
        heads=config.num_heads,
        head_dim=config.d_kv,
        decoder_start=config.decoder_start_token_id,
        **language.write_texts(draft, reading),
    )


def _text(vocabulary: int, batch: int, source: int) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(source)
    mask = torch.ones(batch, source, dtype=torch.long)
    mask[0, max(1, source - 2) :] = 0
    ids = torch.randint(0, vocabulary, (batch, source), generator=drawn)
    return {"input_ids": ids, "attention_mask": mask}


def _case(config: Any, batch: int, length: int, before: int, source: int) -> dict[str, Tensor]:
    shape = (config.num_decoder_layers, config.num_heads, config.d_kv)
    text = _text(config.vocab_size, batch, source)
    return {
        "input_ids": _text(config.vocab_size, batch, length)["input_ids"],
        "past": language.state_like(shape, batch, before, seed=length),
        "memory": language.state_like(shape, batch, source, seed=source + 1),
        "memory_mask": text["attention_mask"],
    }
