"""Adapters are merged as the formula says, and nothing of them is lost on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.lora import merged_tensors, scale

PREFIX = "base_model.model."
CONFIG: dict[str, Any] = {"base_model_name_or_path": "base", "r": 4, "lora_alpha": 6}


def renamed(key: str) -> str | None:
    return None if key.startswith("lm_head") else key.removeprefix("model.")


def adapter(folder: Path, config: dict[str, Any] = CONFIG, **change: Tensor | None) -> Checkpoint:
    """An adapter in a folder of its own, its base in another one inside it."""
    torch.manual_seed(0)
    base = {
        "model.q.weight": torch.randn(6, 5),
        "model.k.weight": torch.randn(6, 5),
        "head.weight": torch.randn(2, 6),
        "lm_head.weight": torch.randn(9, 6),
    }
    own: dict[str, Tensor | None] = {
        "model.q.lora_A.weight": torch.randn(4, 5),
        "model.q.lora_B.weight": torch.randn(6, 4),
        "head.modules_to_save.default.weight": torch.randn(2, 6),
    }
    own |= {key.replace("__", "."): tensor for key, tensor in change.items()}
    (folder / "base").mkdir(parents=True)
    save_file(base, folder / "base" / "model.safetensors")
    kept = {f"{PREFIX}{key}": tensor for key, tensor in own.items() if tensor is not None}
    save_file(kept, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return Checkpoint.open(folder)


def held(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return (
        load_file(folder / "base" / "model.safetensors"),
        load_file(folder / "adapter_model.safetensors"),
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 6 / 4),
        ({"use_rslora": True}, 6 / 2),
        ({"alpha_pattern": {"q": 12}}, 12 / 4),
        ({"alpha_pattern": {"k": 12, "el.q": 3}}, 6 / 4),
    ],
)
def test_an_adapted_weight_is_the_formulas(
    tmp_path: Path, change: dict[str, Any], expected: float
) -> None:
    merged = merged_tensors(adapter(tmp_path, CONFIG | change), renamed)
    base, own = held(tmp_path)
    down, up = (own[f"{PREFIX}model.q.lora_{part}.weight"] for part in "AB")
    plain = base["model.q.weight"].double() + expected * (up.double() @ down.double())
    assert torch.allclose(merged["q.weight"].double(), plain, atol=1e-5)
    assert torch.equal(merged["k.weight"], base["model.k.weight"])
    assert merged.keys() == {"q.weight", "k.weight", "head.weight"}


def test_a_module_that_was_trained_whole_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    merged = merged_tensors(adapter(tmp_path), renamed)
    _, own = held(tmp_path)
    assert torch.equal(merged["head.weight"], own[f"{PREFIX}head.modules_to_save.default.weight"])


def test_a_named_adapter_is_an_adapter(tmp_path: Path) -> None:
    ones = {"model__k__lora_A__default__weight": torch.ones(1, 5)}
    also = {"model__k__lora_B__default__weight": torch.ones(6, 1)}
    merged = merged_tensors(adapter(tmp_path, CONFIG, **ones, **also), renamed)
    base, _ = held(tmp_path)
    assert torch.allclose(merged["k.weight"], base["model.k.weight"] + 6.0)


def test_without_an_adapter_the_weights_are_as_they_are(tmp_path: Path) -> None:
    adapter(tmp_path)
    base = Checkpoint.open(tmp_path / "base")
    assert merged_tensors(base, renamed).keys() == {"q.weight", "k.weight", "head.weight"}


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        ({"model__q__lora_B__weight": None}, {}, r"model\.q\.lora_B: missing"),
        (
            {"model__q__lora_B__weight": torch.ones(5, 4)},
            {},
            r"model\.q: expected \[6, 5\], got \[5, 4\] times \[4, 5\]",
        ),
        (
            {"model__z__lora_A__weight": torch.ones(1, 1),
             "model__z__lora_B__weight": torch.ones(1, 1)},
            {},
            r"model\.z: unknown: the base has no weight",
        ),
        ({}, {"use_dora": True}, "use_dora: True, and only plain LoRA is merged"),
        ({}, {"base_model_name_or_path": None}, "base_model_name_or_path: missing"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, Tensor | None], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        merged_tensors(adapter(tmp_path, CONFIG | config, **change), renamed)


def test_a_pattern_is_for_whole_names() -> None:
    config = {"lora_alpha": 8, "alpha_pattern": {"proj": 16}}
    assert scale(config, "model.proj", 8) == 2.0
    assert scale(config, "model.q_proj", 8) == 1.0
