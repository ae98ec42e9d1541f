"""Which exporter reads a checkpoint, and that a failed export leaves nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_text import sentence_transformers, tiny_text

from tamis.models.errors import ModelError, SettingsError
from tamis.models.export import bert, colbert, dpr, poly_encoder
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.exporting import export, exporter_of, settings_of


def checkpoint(**config: Any) -> Checkpoint:
    return Checkpoint(Path(__file__).parent, "tiny", config)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, bert),
        ({"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"]}, bert),
        ({"model_type": "roberta"}, bert),
        ({"model_type": "bert", "architectures": ["HF_ColBERT"]}, colbert),
        ({"model_type": "dpr", "architectures": ["DPRQuestionEncoder"]}, dpr),
        ({"model_type": "poly_encoder"}, poly_encoder),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, None),
        ({"model_type": "llama"}, None),
    ],
)
def test_a_checkpoint_is_told_by_its_config(config: dict[str, Any], method: Any) -> None:
    reading = [one for one in (bert, colbert, dpr, poly_encoder) if one.reads(checkpoint(**config))]
    assert reading == ([method] if method else [])


@pytest.mark.parametrize(("kind", "reading"), [("bert", True), ("qwen2_vl", False)])
def test_a_tower_in_its_own_folder_tells_what_it_is(
    tmp_path: Path, kind: str, reading: bool
) -> None:
    row = {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
    (tmp_path / "modules.json").write_text(json.dumps([row]))
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer" / "config.json").write_text(json.dumps({"model_type": kind}))
    assert bert.reads(Checkpoint.open(tmp_path)) is reading
    (tmp_path / "artifact.metadata").write_text("{}")
    assert not bert.reads(Checkpoint.open(tmp_path))


def test_a_method_that_is_not_known_is_refused() -> None:
    with pytest.raises(ModelError, match=r"method: 'writer' is not one of: .*bert, .*dpr"):
        exporter_of(checkpoint(), "writer")


def test_a_checkpoint_of_no_known_kind_says_what_it_is() -> None:
    with pytest.raises(ModelError, match=r"tiny: config.json says {'model_type': 'mamba'"):
        exporter_of(checkpoint(model_type="mamba"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_text(tmp_path / "tiny-bert")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"kind": "CNN"}, r"modules\.json: CNN: an unknown step"),
        ({"kind": "Pooling", "pooling_mode": "median"}, "pooling_mode: 'median' is not one of"),
        ({"kind": "Pooling", "include_prompt": False}, "include_prompt: false is not supported"),
        ({"kind": "Dense", "activation_function": "mine.Swish"}, "'Swish' is not one of: Tanh"),
    ],
)
def test_a_step_that_is_not_known_is_named(
    source: Path, tmp_path: Path, step: dict[str, Any], message: str
) -> None:
    sentence_transformers(source, step)
    with pytest.raises(ModelError, match=message):
        export(source, tmp_path / "served", method="bert")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-bert"]


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode_lasttoken": True}, ("lasttoken",)),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt_len_tokens",)),
        ({"pooling_mode": ["max", "weightedmean"]}, ("max", "weightedmean")),
        ({"pooling_mode_cls_token": False}, ("mean",)),
    ],
)
def test_poolings_are_read_in_both_spellings(config: dict[str, Any], modes: tuple[str]) -> None:
    assert bert.pooling(config, "config.json") == modes


@pytest.mark.parametrize(
    ("name", "prompts", "expected"),
    [
        ("intfloat/e5-base-v2", {}, ("query: ", "passage: ")),
        ("BAAI/bge-small-en-v1.5", {},
         ("Represent this sentence for searching relevant passages: ", "")),
        ("intfloat/e5-base-v2", {"query": "q: ", "passage": "p: "}, ("q: ", "p: ")),
        ("mine/sentences", {}, ("", "")),
    ],
)  # fmt: skip
def test_prompts_are_the_checkpoints_or_its_familys(
    tmp_path: Path, name: str, prompts: dict[str, str], expected: tuple[str, str]
) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    assert bert.prefixes(Checkpoint(tmp_path, name, {})) == expected


def test_a_tensor_that_is_missing_ends_an_export(source: Path, tmp_path: Path) -> None:
    path = source / "model.safetensors"
    held = load_file(path)
    del held["encoder.layer.0.output.dense.bias"]
    save_file(held, path)
    with pytest.raises(ModelError, match=r"encoder\.layer\.0\.output\.dense\.bias: missing"):
        export(source, tmp_path / "served", method="bert")
    save_file(held | {"encoder.layer.0.output.dense.bias": torch.ones(3)}, path)
    with pytest.raises(ModelError, match=r"dense\.bias: expected \[24\], got \[3\]"):
        export(source, tmp_path / "served", method="bert")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-bert"]


def test_a_checkpoint_without_a_tokenizer_is_named(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tiny-bert/tokenizer\.json: no such file"):
        export(source, tmp_path / "served", method="bert")


def test_a_folder_of_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="mine: is not a model folder; it is left as it is"):
        export(source, mine, method="bert")
    assert (mine / "thesis.txt").exists()


def test_settings_are_keys_and_values() -> None:
    assert settings_of(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(SettingsError, match="'codes' is not KEY=VALUE"):
        settings_of(["codes"])
