"""A model's folder is what its `model.toml` says, or it is refused."""

import hashlib
import logging
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tower import tiny_tower

from tamis.models.encoders.tamis_mini import TamisMiniRecipe
from tamis.models.errors import ModelError
from tamis.models.runtimes.folder import NAME, EncoderRecipe, ModelFolder, Recipe, text
from tamis.models.settings import build

GRAPH = b"a graph"
RECIPE = EncoderRecipe(
    name='the "first"',
    method="minilm",
    licence="Apache-2.0",
    files={"text.onnx": hashlib.sha256(GRAPH).hexdigest()},
    space="all-MiniLM-L6-v2",
    dim=384,
)


def written(folder: Path, toml: str, graph: bytes = GRAPH) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "text.onnx").write_bytes(graph)
    (folder / NAME).write_text(toml)
    return folder


def opened(folder: Path) -> ModelFolder[EncoderRecipe]:
    return ModelFolder.open(folder, EncoderRecipe, "minilm")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    model = opened(written(tmp_path, text(RECIPE)))
    assert model.recipe == RECIPE


def test_the_log_says_what_runs_a_graph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = ModelFolder.open(tiny_tower(tmp_path), TamisMiniRecipe, "tamis_mini")
    with caplog.at_level(logging.INFO, logger="tamis.models"):
        session = model.session("vision", threads=1)
    assert caplog.messages == [f"tiny: vision: runs on {session.runtime}"]


def test_the_fingerprint_is_of_what_the_model_computes(tmp_path: Path) -> None:
    def fingerprint(recipe: EncoderRecipe) -> str:
        return opened(written(tmp_path, text(recipe))).fingerprint

    first = fingerprint(RECIPE)
    assert len(first) == 16
    assert fingerprint(replace(RECIPE, name="another", licence="MIT")) == first
    assert fingerprint(replace(RECIPE, space="another")) != first
    assert fingerprint(replace(RECIPE, dim=64)) != first


def test_another_file_is_another_fingerprint(tmp_path: Path) -> None:
    found = {opened(written(tmp_path, text(RECIPE))).fingerprint}
    for rules in (b"{}", b"{ }"):
        (tmp_path / "tokenizer.json").write_bytes(rules)
        files = RECIPE.files | {"tokenizer.json": hashlib.sha256(rules).hexdigest()}
        found.add(opened(written(tmp_path, text(replace(RECIPE, files=files)))).fingerprint)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim = 384\n", "dim = 384\ndims = 384\n", r"model\.toml\.dims: unknown; known: name, "),
        ("dim = 384\n", "", r"model\.toml\.dim: missing"),
        ("dim = 384\n", 'dim = "384"\n', r"model\.toml\.dim: expected int, got '384'"),
        ("dim = 384\n", "dim =\n", r"model\.toml: cannot be read: "),
        ('"minilm"', '"tamis_mini"', r"model\.toml: method: 'tamis_mini', not 'minilm'"),
        ('"text.onnx"', '"gone.onnx"', r"gone\.onnx: no such file"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    written(tmp_path, text(RECIPE).replace(old, new))
    with pytest.raises(ModelError, match=message):
        opened(tmp_path)


def test_another_graph_than_the_exported_one_is_refused(tmp_path: Path) -> None:
    written(tmp_path, text(RECIPE), graph=b"half a gra")
    with pytest.raises(ModelError, match=r"text\.onnx: damaged, or of another model: its SHA-256"):
        opened(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.toml: no such file: .* is not a model folder"):
        opened(tmp_path)


def test_a_graph_that_the_recipe_does_not_name_is_refused(tmp_path: Path) -> None:
    model = opened(written(tmp_path, text(RECIPE)))
    (tmp_path / "image.onnx").write_bytes(GRAPH)
    with pytest.raises(ModelError, match=r"files: image\.onnx is not one of: text\.onnx"):
        model.session("image")
    with pytest.raises(ModelError, match=r"files: tokenizer\.json is not one of: text\.onnx"):
        model.tokenizer(max_length=8)


@dataclass(frozen=True, kw_only=True)
class Fit:
    size: tuple[int, ...]
    names: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Nested(Recipe):
    """A recipe with all that a `model.toml` can hold."""

    templates: dict[str, str]
    fit: Fit
    mean: tuple[float, ...]
    alone: bool
    limit: int | None = None


@given(st.dictionaries(st.text(), st.text()), st.text(), st.floats(-9, 9))
def test_any_recipe_survives_its_file(said: dict[str, str], name: str, mean: float) -> None:
    recipe = Nested(
        name=name, method="minilm", licence="MIT", files=said, templates=said, alone=True,
        fit=Fit(size=(384, 128), names=said), mean=(mean, 1.0),
    )  # fmt: skip
    assert build(Nested, tomllib.loads(text(recipe)), where="model.toml") == recipe
