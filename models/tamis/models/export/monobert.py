"""Exports cross-encoders: any encoder with a class head that transformers knows.

monoBERT and monoELECTRA, the MS MARCO MiniLMs, the BGE rerankers: `*ForSequenceClassification`.
"""

import json
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.runtimes.onnx_cross_encoder import CrossEncoderRecipe
from tamis.models.runtimes.pairs import PairTokenizer

PAIRS = [
    ("what does a fox do", "A fox jumps over the lazy dog, again and again."),
    ("red bicycle", "Two kites."),
    ("", "An empty query."),
]
ENCODERS = {"bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert", "deberta-v2"}


class _Pairs(nn.Module):
    """The logits alone, with inputs by name."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.network(
            input_ids=input_ids, attention_mask=attention_mask, **given
        ).logits
        return logits


def reads(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is a cross-encoder."""
    architectures = checkpoint.config.get("architectures") or [""]
    return architectures[0].endswith("ForSequenceClassification") and (
        checkpoint.config.get("model_type") in ENCODERS
    )


def export(checkpoint: Checkpoint, draft: Draft) -> CrossEncoderRecipe:
    """Writes the graph `pair.onnx` and the tokenizer.

    Settings: `query_tokens`, how much of a query is read (64).

    Raises:
        ModelError: The checkpoint is no cross-encoder, or a tensor is missing or unknown.
    """
    if not reads(checkpoint):
        raise ModelError(f"{checkpoint.name}: config.json: not an encoder with a class head")
    config: Any = AutoConfig.for_model(**checkpoint.config)
    kind: Any = AutoModelForSequenceClassification
    network = kind.from_config(config, attn_implementation="eager")
    load(network, checkpoint.tensors(), ignore=("*.position_ids",))
    max_tokens = _max_tokens(checkpoint, config)
    query_tokens = int(draft.options.settings.get("query_tokens", min(64, max_tokens // 4)))
    draft.copy(checkpoint.folder / "tokenizer.json")
    pairs = PairTokenizer.open(draft.folder, max_tokens=max_tokens, query_tokens=query_tokens)
    typed = config.type_vocab_size > 1 if hasattr(config, "type_vocab_size") else False
    names = ("input_ids", "attention_mask", *(["token_type_ids"] if typed else []))
    cases = [_case(pairs, names, PAIRS), _case(pairs, names, PAIRS[1:2])]
    dynamic = {name: {0: "pairs", 1: "length"} for name in names}
    draft.graph("pair", _Pairs(network.eval()), ["logits"], cases, dynamic=dynamic)
    return CrossEncoderRecipe(
        name=draft.name(checkpoint),
        method="monobert",
        licence=draft.options.licence,
        files={},
        labels=config.num_labels,
        max_tokens=max_tokens,
        query_tokens=query_tokens,
        inputs=names,
    )


def _case(
    pairs: PairTokenizer, names: tuple[str, ...], texts: list[tuple[str, str]]
) -> dict[str, Tensor]:
    batch = pairs.batch(pairs.encode(texts)).inputs(types=True)
    return {name: torch.from_numpy(batch[name]) for name in names}


def _max_tokens(checkpoint: Checkpoint, config: Any) -> int:
    """How much of a pair is read: the tokenizer's length, at most as many as there are positions.

    RoBERTa's positions begin after its padding id, so it has fewer than its table is long.
    """
    positions = int(config.max_position_embeddings)
    if config.model_type in {"roberta", "xlm-roberta", "camembert"}:
        positions -= config.pad_token_id + 1
    path = checkpoint.folder / "tokenizer_config.json"
    try:
        said = json.loads(path.read_bytes()).get("model_max_length") if path.exists() else None
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    return min(positions, int(said)) if said else positions
