"""FLMR's golden checkpoints as the folders that their authors publish."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file


def config_of(case: Path) -> dict[str, Any]:
    """What a case's `config.json` says."""
    said: dict[str, Any] = json.loads((case / "config.json").read_text())
    return said


def checkpoint_config(case: Path) -> dict[str, Any]:
    """The `config.json` of the model in a case; the mapping layers' sizes stand in it."""
    said, mapping = config_of(case), "transformer_mapping_bert_config"
    config = {"model_type": "flmr", **said["flmr_config"]}
    return config | ({mapping: said[mapping]} if mapping in said else {})


def write_flmr(case: Path, folder: Path) -> Path:
    """A case's model as a Hugging Face folder."""
    vocabulary = folder / "query_tokenizer"
    vocabulary.mkdir(parents=True)
    (vocabulary / "vocab.txt").write_text("\n".join(config_of(case)["vocab"]) + "\n")
    (folder / "config.json").write_text(json.dumps(checkpoint_config(case)))
    shutil.copy(case / "weights.safetensors", folder / "model.safetensors")
    return folder


def inputs_and_outputs(case: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case's tensors."""
    return load_file(case / "inputs.safetensors"), load_file(case / "outputs.safetensors")
