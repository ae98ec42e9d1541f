"""What exporters of vision-language models accept, whoever wrote the checkpoint, and refuse."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_vlm import PALI_SPECIAL
from safetensors.torch import save_file
from tiny_vlm import (
    QWEN2_SPECIAL,
    QWEN2_VL,
    byte_tokenizer,
    scattered,
    word_tokenizer,
    write_checkpoint,
)
from torch import Tensor
from transformers import Qwen2VLConfig, Qwen2VLModel
from untraced import Untraced

from tamis.models.errors import ModelError
from tamis.models.export import colpali, colqwen2, dse, gme, vlm2vec
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Options
from tamis.models.export.exporting import exporter_of
from tamis.models.networks.decoder import Decoder
from tamis.models.networks.paligemma import Vision, shape_of
from tamis.models.networks.prompted import MultiVector
from tamis.models.networks.qwen2_vl import shapes
from tamis.models.runtimes.prompted import PromptedRecipe

PALIGEMMA: dict[str, Any] = {
    "model_type": "paligemma",
    "image_token_index": 30,
    "text_config": {
        "model_type": "gemma", "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    },
    "vision_config": {
        "model_type": "siglip_vision_model", "hidden_size": 12, "intermediate_size": 20,
        "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
    },
}  # fmt: skip


@pytest.fixture
def draft(tmp_path: Path) -> Untraced:
    (tmp_path / "draft").mkdir()
    return Untraced(tmp_path / "draft")


def qwen2_tensors() -> dict[str, Tensor]:
    """By the names that the network has."""
    return scattered(Qwen2VLModel(Qwen2VLConfig(**QWEN2_VL)))


def colqwen2_tensors() -> dict[str, Tensor]:
    return qwen2_tensors() | {
        "custom_text_proj.weight": torch.randn(8, 32),
        "custom_text_proj.bias": torch.randn(8),
    }


def written(folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    pali = "image_token_index" in json.dumps(config)
    names = dict(zip(PALI_SPECIAL, (0, 1, 2, 30), strict=True))
    rules = word_tokenizer(31, names) if pali else byte_tokenizer(QWEN2_SPECIAL)
    return Checkpoint.open(write_checkpoint(folder, config, tensors, rules))


def old_names(key: str) -> str:
    return key.replace("language_model.", "model.", 1)


def new_names(key: str) -> str:
    return f"model.{key}"


def port_names(key: str) -> str:
    key = key.replace("custom_text_proj", "embedding_proj_layer")
    return key if key.startswith("embedding") else f"vlm.{old_names(key)}"


@pytest.mark.parametrize("names", [old_names, new_names, port_names, str])
def test_every_librarys_names_of_qwen2_vl_are_read(
    names: Callable[[str], str], draft: Untraced, tmp_path: Path
) -> None:
    tensors = colqwen2_tensors()
    config = {**QWEN2_VL, "model_type": "colqwen2", "embedding_dim": 8}
    source = {names(key): value for key, value in tensors.items()}
    source["lm_head.weight"] = torch.zeros(272, 32)
    recipe = colqwen2.export(written(tmp_path / "source", config, source), draft)
    held = draft.weights("joint")
    assert held.keys() == tensors.keys()
    assert all(torch.equal(held[key], tensors[key]) for key in tensors)
    assert (recipe.dim, recipe.width) == (8, 32)
    assert recipe.templates["query_text"].startswith("{text}")
    assert recipe.max_tokens == 768 + 512


def test_the_librarys_port_has_its_own_prompts(draft: Untraced, tmp_path: Path) -> None:
    config = {"model_type": "colqwen2", "embedding_dim": 8, "vlm_config": QWEN2_VL}
    source = {port_names(key): value for key, value in colqwen2_tensors().items()}
    recipe = colqwen2.export(written(tmp_path / "source", config, source), draft)
    assert recipe.templates["query_text"] == "Query: {text}" + "<|endoftext|>" * 10 + "\n"
    assert recipe.templates["document_image"] == colqwen2.PAGE


def test_an_adapter_is_merged_into_its_base(tmp_path: Path) -> None:
    tensors = colqwen2_tensors()
    base = written(
        tmp_path / "adapter" / "base", {**QWEN2_VL, "embedding_dim": 8},
        {old_names(key): value for key, value in tensors.items()},
    )  # fmt: skip
    folder = base.folder.parent
    layer = "model.layers.0.mlp.down_proj"
    factors = {
        f"base_model.model.{layer}.lora_A.weight": torch.randn(2, 48),
        f"base_model.model.{layer}.lora_B.weight": torch.randn(32, 2),
        "base_model.model.custom_text_proj.lora_A.weight": torch.randn(2, 32),
        "base_model.model.custom_text_proj.lora_B.weight": torch.randn(8, 2),
    }
    save_file(factors, folder / "adapter_model.safetensors")
    said = {"base_model_name_or_path": "base", "lora_alpha": 2, "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    made = Untraced(tmp_path / "draft")
    made.folder.mkdir()
    recipe = colqwen2.export(Checkpoint.open(folder), made)
    held, name = made.weights("joint"), "language_model.layers.0.mlp.down_proj.weight"
    down, up = (factors[f"base_model.model.{layer}.lora_{part}.weight"] for part in "AB")
    assert torch.allclose(held[name], tensors[name] + up @ down, atol=1e-5)
    assert recipe.dim == 8
    assert (made.folder / "tokenizer.json").exists()


def paligemma_tensors() -> dict[str, Tensor]:
    network = MultiVector(Vision(PALIGEMMA), Decoder(shape_of(PALIGEMMA["text_config"])), 8)
    return scattered(network)


def authors_names(key: str) -> str:
    for ours, theirs in (
        ("visual.tower.", "model.vision_tower.vision_model."),
        ("visual.projector.", "model.multi_modal_projector.linear."),
        ("language_model.", "model.language_model.model."),
    ):
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


@pytest.mark.parametrize("wrapped", [False, True])
def test_colpalis_older_names_are_read(wrapped: bool, draft: Untraced, tmp_path: Path) -> None:
    tensors = paligemma_tensors()
    source = {authors_names(key): value for key, value in tensors.items()}
    source["model.language_model.lm_head.weight"] = torch.zeros(31, 16)
    source["model.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(4)[None]
    config = {"model_type": "colpali", "embedding_dim": 8}
    config |= {"vlm_config": PALIGEMMA} if wrapped else {**PALIGEMMA, "model_type": "colpali"}
    checkpoint = written(tmp_path / "source", config, source)
    recipe = colpali.export(checkpoint, draft)
    held = draft.weights("joint")
    assert all(torch.equal(held[key], tensors[key]) for key in tensors)
    assert (recipe.image_tokens, recipe.width, recipe.dim) == (4, 16, 8)
    begin = "<bos>Question: {text}" if wrapped else "<bos>{text}"
    assert recipe.templates["query_text"].startswith(begin)
    assert recipe.templates["document_both"].count("<bos>") == (1 if wrapped else 2)
    assert exporter_of(checkpoint) is colpali


def test_a_query_prefix_can_be_set(tmp_path: Path) -> None:
    source = {authors_names(key): value for key, value in paligemma_tensors().items()}
    checkpoint = written(tmp_path / "source", PALIGEMMA | {"embedding_dim": 8}, source)
    (tmp_path / "draft").mkdir()
    options = Options(name="mine", settings={"query_prefix": "Query: "})
    recipe = colpali.export(checkpoint, Untraced(tmp_path / "draft", options))
    assert recipe.templates["query_text"].startswith("<bos>Query: {text}<pad>")
    assert (recipe.name, recipe.space) == ("mine", "mine")


@pytest.mark.parametrize(
    ("exporter", "name", "bounds", "blank"),
    [
        (gme, "gme-tiny", (256, 1280), 0),
        (vlm2vec, "VLM2Vec-tiny", (4, 1280), 0),
        (dse, "dse-tiny", (1, 2560), 28),
    ],
)
def test_embedders_have_their_authors_recipes(
    exporter: Any, name: str, bounds: tuple[int, int], blank: int, draft: Untraced, tmp_path: Path
) -> None:
    source = {old_names(key): value for key, value in qwen2_tensors().items()}
    checkpoint = written(tmp_path / name, QWEN2_VL, source)
    assert exporter_of(checkpoint) is exporter
    recipe: PromptedRecipe = exporter.export(checkpoint, draft)
    assert recipe.patching is not None
    least, most = bounds
    assert (recipe.patching.min_pixels, recipe.patching.max_pixels) == (least * 784, most * 784)
    assert (recipe.blank, recipe.method) == (blank, exporter.__name__.rpartition(".")[2])
    assert set(recipe.templates) == {
        f"{side}_{kind}" for side in ("query", "document") for kind in ("text", "image", "both")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, r"language_model\.norm\.weight: missing"),
        ({"model.layers.9.mlp.up_proj.weight": torch.ones(1)}, r"layers\.9.*: unknown"),
        ({"visual.merger.ln_q.bias": torch.ones(7)}, r"visual\.merger\.ln_q\.bias: expected \[24"),
    ],
)
def test_a_key_that_does_not_fit_is_named(
    change: dict[str, Tensor | None], message: str, draft: Untraced, tmp_path: Path
) -> None:
    source = {old_names(key): value for key, value in qwen2_tensors().items()} | change
    held = {key: value for key, value in source.items() if value is not None}
    with pytest.raises(ModelError, match=message):
        gme.export(written(tmp_path / "source", QWEN2_VL, held), draft)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_config": {"hidden_size": 8}}, "config.json: num_attention_heads: missing"),
        ({"text_config": QWEN2_VL["text_config"] | {"use_sliding_window": True}}, "sliding_window"),
        (
            {"text_config": QWEN2_VL["text_config"] | {"rope_parameters": {"rope_type": "yarn"}}},
            "rope_type: 'yarn', not 'default' or 'mrope'",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(
    change: dict[str, Any], message: str, draft: Untraced, tmp_path: Path
) -> None:
    checkpoint = written(tmp_path / "source", QWEN2_VL | change, qwen2_tensors())
    with pytest.raises(ModelError, match=message):
        gme.export(checkpoint, draft)


def test_a_flat_configuration_says_the_same() -> None:
    flat = {**QWEN2_VL["text_config"], "vision_config": QWEN2_VL["vision_config"]}
    flat["rope_scaling"] = {"type": "mrope", "mrope_section": [2, 1, 1]}
    flat["rope_theta"] = flat.pop("rope_parameters")["rope_theta"]
    assert shapes(flat) == shapes(QWEN2_VL)
