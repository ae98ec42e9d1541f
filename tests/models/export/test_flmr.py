"""What FLMR's exporter accepts, and what it refuses and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_vlm import scattered
from torch import Tensor
from untraced import Untraced

from tamis.models.errors import ModelError
from tamis.models.export import flmr, preflmr
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.exporting import exporter_of
from tamis.models.networks.flmr import Flmr, complete

WORDS = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", "cat"]
MAPPING = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
CONFIG: dict[str, Any] = {
    "model_type": "flmr", "dim": 8, "mapping_network_prefix_length": 2,
    "text_config": {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 24,
                    "num_attention_heads": 2, "num_hidden_layers": 1,
                    "max_position_embeddings": 20, "query_maxlen": 8},
    "vision_config": {"hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 2,
                      "num_hidden_layers": 2, "image_size": 16, "patch_size": 8},
}  # fmt: skip
PRE = CONFIG | {
    "use_transformer_mapping_network": True,
    "separate_query_and_context_text_encoder": True,
    "mask_instruction_token": ":",
    "transformer_mapping_cross_attention_length": 4,
    "transformer_mapping_bert_config": MAPPING,
}


def tensors(config: dict[str, Any]) -> dict[str, Tensor]:
    """By the names of the authors' checkpoints."""
    held = scattered(Flmr(complete(config), MAPPING))
    wrapped = "vision_encoder.vision_model."
    return {key.replace(wrapped, f"{wrapped}vision_model."): held[key] for key in held}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[Checkpoint, Untraced]]:
    def make(
        config: dict[str, Any], held: dict[str, Tensor], words: list[str] = WORDS
    ) -> tuple[Checkpoint, Untraced]:
        folder, draft = tmp_path / "source", tmp_path / "draft"
        (folder / "query_tokenizer").mkdir(parents=True)
        draft.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "query_tokenizer" / "vocab.txt").write_text("\n".join(words))
        added = {"<EOQ>": len(words) + 1, "<BOQ>": len(words)}
        (folder / "query_tokenizer" / "added_tokens.json").write_text(json.dumps(added))
        save_file(held, folder / "model.safetensors")
        return Checkpoint.open(folder), Untraced(draft)

    return make


def test_what_is_shared_may_be_under_either_sides_name(
    written: Callable[..., tuple[Checkpoint, Untraced]],
) -> None:
    held = tensors(CONFIG)
    either = {key.replace("query_text", "context_text"): held[key] for key in held}
    either |= {
        key.replace("query_vision", "context_vision"): held[key].clone()
        for key in held
        if "vision" in key
    }
    either["query_text_encoder.text_model.embeddings.LayerNorm.bias"] = torch.zeros(16)
    either["context_text_encoder.bert_model.pooler.dense.bias"] = torch.zeros(16)
    checkpoint, draft = written(CONFIG, either)
    recipe = flmr.export(checkpoint, draft)
    name = "query_text_encoder_linear.weight"
    for graph in ("query", "document"):
        assert torch.equal(draft.weights(graph)["linear.weight"], held[name])
    assert (recipe.patches, recipe.separate, recipe.instruction_end) == (0, False, None)
    assert exporter_of(checkpoint) is flmr


def test_sides_of_their_own_are_kept_apart(
    written: Callable[..., tuple[Checkpoint, Untraced]],
) -> None:
    config = PRE | {"separate_query_and_context_vision_encoder": True}
    held = tensors(config)
    checkpoint, draft = written(config, held)
    recipe = preflmr.export(checkpoint, draft)
    for graph, side in (("query", "query"), ("document", "context")):
        expected = held[f"{side}_text_encoder_linear.weight"]
        assert torch.equal(draft.weights(graph)["linear.weight"], expected)
    name = "tower.vision_model.pre_layrnorm.bias"
    towers = [draft.weights(graph)[name] for graph in ("image", "document_image")]
    assert not torch.equal(*towers)
    assert (recipe.patches, recipe.separate, recipe.instruction_end) == (4, True, 7)
    assert (recipe.query_marker, recipe.document_marker, recipe.mask_token) == (1, 2, 6)
    assert (recipe.query_tokens, recipe.document_tokens) == (8, 20)
    assert exporter_of(checkpoint) is preflmr
    rules = json.loads((draft.folder / "tokenizer.json").read_text())
    assert [token["id"] for token in rules["added_tokens"] if token["content"] == "<EOQ>"] == [11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_text_encoder_linear.weight": None}, "query_text_encoder_linear.weight: missing"),
        ({"query_vision_projection.model.4.bias": torch.ones(1)}, r"model\.4\.bias: unknown"),
        (
            {"transformer_mapping_output_linear.bias": torch.ones(3)},
            r"transformer_mapping_output_linear\.bias: expected \[8\], got \[3\]",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_named(
    change: dict[str, Tensor | None],
    message: str,
    written: Callable[..., tuple[Checkpoint, Untraced]],
) -> None:
    held = {k: value for k, value in (tensors(PRE) | change).items() if value is not None}
    with pytest.raises(ModelError, match=message):
        preflmr.export(*written(PRE, held))


def test_a_vocabulary_without_the_markers_is_refused(
    written: Callable[..., tuple[Checkpoint, Untraced]],
) -> None:
    words = [f"w{i}" if word == "[unused1]" else word for i, word in enumerate(WORDS)]
    with pytest.raises(ModelError, match=r"the tokenizer has no \[unused1\]"):
        preflmr.export(*written(PRE, tensors(PRE), words))


def test_a_checkpoint_without_a_vocabulary_is_refused(
    written: Callable[..., tuple[Checkpoint, Untraced]],
) -> None:
    checkpoint, draft = written(PRE, tensors(PRE))
    (checkpoint.folder / "query_tokenizer" / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"has neither tokenizer\.json nor vocab\.txt"):
        preflmr.export(checkpoint, draft)
