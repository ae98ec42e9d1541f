"""A model's folder is what its `model.toml` says, or it is refused."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.models.errors import ModelError
from tamis.models.runtimes.folder import NAME, ModelFolder, Recipe, text

GRAPH = b"a graph"
RECIPE = Recipe(
    name='the "first"',
    method="minilm",
    licence="Apache-2.0",
    graph="model.onnx",
    sha256=hashlib.sha256(GRAPH).hexdigest(),
    space="all-MiniLM-L6-v2",
    dim=384,
)


def written(folder: Path, toml: str, graph: bytes = GRAPH) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(graph)
    (folder / NAME).write_text(toml)
    return folder


def opened(folder: Path) -> ModelFolder[Recipe]:
    return ModelFolder.open(folder, Recipe, "minilm")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    model = opened(written(tmp_path, text(RECIPE)))
    assert model.recipe == RECIPE
    assert model.graph == tmp_path / "model.onnx"


def test_the_fingerprint_is_of_what_the_model_computes(tmp_path: Path) -> None:
    def fingerprint(recipe: Recipe) -> str:
        return opened(written(tmp_path, text(recipe))).fingerprint

    first = fingerprint(RECIPE)
    assert len(first) == 16
    assert fingerprint(replace(RECIPE, name="another", licence="MIT")) == first
    assert fingerprint(replace(RECIPE, space="another")) != first
    assert fingerprint(replace(RECIPE, dim=64)) != first


def test_another_tokenizer_is_another_fingerprint(tmp_path: Path) -> None:
    found = set()
    for rules in ("{}", "{ }"):
        written(tmp_path, text(RECIPE))
        (tmp_path / "tokenizer.json").write_text(rules)
        model = ModelFolder.open(tmp_path, Recipe, "minilm", also=("tokenizer.json",))
        found.add(model.fingerprint)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim = 384\n", "dim = 384\ndims = 384\n", r"model\.toml\.dims: unknown; known: name, "),
        ("dim = 384\n", "", r"model\.toml\.dim: missing"),
        ("dim = 384\n", 'dim = "384"\n', r"model\.toml\.dim: expected int, got '384'"),
        ("dim = 384\n", "dim =\n", r"model\.toml: cannot be read: "),
        ('"minilm"', '"tamis_mini"', r"model\.toml: method: 'tamis_mini', not 'minilm'"),
        ('"model.onnx"', '"gone.onnx"', r"gone\.onnx: no such file"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    written(tmp_path, text(RECIPE).replace(old, new))
    with pytest.raises(ModelError, match=message):
        opened(tmp_path)


def test_another_graph_than_the_exported_one_is_refused(tmp_path: Path) -> None:
    written(tmp_path, text(RECIPE), graph=b"half a gra")
    with pytest.raises(ModelError, match=r"model\.onnx: damaged, or of another model: its SHA-256"):
        opened(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.toml: no such file: .* is not a model folder"):
        opened(tmp_path)
