"""What is read of CLIP's configurations."""

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip import reads
from tamis.models.export.clip_weights import Hints, hints, openai_name, transformers_name


def beside(folder: Path, name: str, said: dict[str, Any]) -> Checkpoint:
    (folder / name).write_text(json.dumps(said))
    return Checkpoint.open(folder)


def test_without_a_configuration_it_is_openais(tmp_path: Path) -> None:
    assert hints(Checkpoint.open(tmp_path), {}) == Hints()
    assert not reads(Checkpoint.open(tmp_path))


def test_open_clips_own_models_have_another_activation(tmp_path: Path) -> None:
    vision = {"layers": 32, "width": 1280, "head_width": 80, "patch_size": 14}
    said = {"model_cfg": {"embed_dim": 1024, "vision_cfg": vision, "text_cfg": {"heads": 16}}}
    checkpoint = beside(tmp_path, "open_clip_config.json", said)
    assert hints(checkpoint, {}) == Hints(vision_heads=16, text_heads=16, activation="gelu")
    assert hints(checkpoint, {"text_heads": "4", "activation": "quick_gelu"}) == Hints(
        vision_heads=16, text_heads=4
    )
    assert reads(checkpoint)
    said["model_cfg"]["quick_gelu"] = True
    assert hints(beside(tmp_path, "open_clip_config.json", said), {}).activation == "quick_gelu"


def test_a_vision_tower_of_timms_is_not_read(tmp_path: Path) -> None:
    said = {"model_cfg": {"vision_cfg": {"timm_model_name": "vit"}, "text_cfg": {}}}
    assert not reads(beside(tmp_path, "open_clip_config.json", said))


def test_towers_of_two_activations_are_refused(tmp_path: Path) -> None:
    said = {"model_type": "clip", "text_config": {"hidden_act": "gelu"}}
    with pytest.raises(ModelError, match="hidden_act: differs between the towers"):
        hints(beside(tmp_path, "config.json", said), {})


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"),
        (
            "text_model.encoder.layers.11.mlp.fc1.weight",
            "text.transformer.resblocks.11.mlp.c_fc.weight",
        ),
        (
            "vision_model.encoder.layers.0.self_attn.out_proj.bias",
            "visual.transformer.resblocks.0.attn.out_proj.bias",
        ),
        ("something.else", "something.else"),
    ],
)
def test_the_names_of_transformers_are_openais(key: str, name: str) -> None:
    assert transformers_name(key) == name


def test_openai_has_no_word_for_the_text_tower() -> None:
    rename = openai_name("clip_model.")
    assert rename("clip_model.ln_final.weight") == "text.ln_final.weight"
    assert rename("clip_model.visual.proj") == "visual.proj"
    assert openai_name("")("text.ln_final.weight") == "text.ln_final.weight"  # open_clip's
