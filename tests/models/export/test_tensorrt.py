"""Engines for a GPU that is not here: built by TensorRT, found by name, never run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tamis.models.errors import InputError, ModelError
from tamis.models.export import tensorrt
from tamis.models.export.bert_graph import BertShape, graph, parameters
from tamis.models.export.precision import convert
from tamis.models.export.tensorrt import build
from tamis.models.export.writer import drafted, seal
from tamis.models.runtimes.folder import ModelFolder, Recipe
from tamis.models.runtimes.profiles import AXES, limits
from tamis.models.runtimes.tensorrt import built, device, engine_path, library

pytestmark = pytest.mark.skipif(library() is None, reason="no TensorRT is installed")


@dataclass(frozen=True, kw_only=True)
class Short(Recipe):
    """A recipe that bounds its texts."""

    max_tokens: int


def folder(
    out: Path, *, axis: str = "length", scale: float = 1.0, max_tokens: int = 16
) -> ModelFolder[Short]:
    """Adds up the embeddings of some ids."""
    table = scale * np.arange(40, dtype=np.float32).reshape(10, 4)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("ReduceSum", ["found", "axes"], ["embedding"], keepdims=0),
    ]
    made = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", axis])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", 4])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    recipe = Short(name="words", method="words", licence="none", files={}, max_tokens=max_tokens)
    with drafted(out) as draft:
        model = helper.make_model(made, opset_imports=opsets, ir_version=9)
        (draft / "text.onnx").write_bytes(model.SerializeToString())
        return seal(draft, out, recipe)


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    model, said = folder(tmp_path / "m"), list[str]()
    (path,) = build(model, said.append, target="sm89")
    assert path.stat().st_size > 1_000
    assert build(model, said.append, target="sm89") == [path]
    assert "built in" in said[0]
    assert said[1].endswith("there already")
    ModelFolder.open(model.path, Short, "words")  # engines are no part of what it is


def test_another_graph_has_another_engine(tmp_path: Path) -> None:
    (first,) = build(folder(tmp_path / "m", scale=1.0), target="sm89")
    (second,) = build(folder(tmp_path / "m", scale=2.0), target="sm89")
    assert first.name != second.name
    assert second.exists()


def test_a_recipe_with_other_limits_has_another_engine(tmp_path: Path) -> None:
    """As where a user allows longer texts in `model.toml`: the engine there would refuse them."""
    model = folder(tmp_path / "m")
    (first,) = build(model, target="sm89")
    toml = tmp_path / "m" / "model.toml"
    toml.write_text(toml.read_text().replace("max_tokens = 16", "max_tokens = 32"))
    longer = ModelFolder.open(tmp_path / "m", Short, "words")
    said = list[str]()
    (second,) = build(longer, said.append, target="sm89")
    assert first != second
    assert said[0].startswith(f"{second.name}: built in")
    sha256 = model.recipe.files["text.onnx"]
    for recipe, path in ((model.recipe, first), (longer.recipe, second)):
        assert engine_path(tmp_path / "m", "text", sha256, "sm89", limits(recipe)) == path


@pytest.mark.parametrize("other", ["sm80", "sm120"])
def test_an_engine_is_of_one_gpu(tmp_path: Path, other: str) -> None:
    assert engine_path(tmp_path, "text", "abc", "sm89", AXES) != engine_path(
        tmp_path, "text", "abc", other, AXES
    )


def test_an_axis_without_limits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="input_ids: axis 'clouds' has no limits"):
        build(folder(tmp_path / "m", axis="clouds"), target="sm89")


def test_a_graph_in_float16_has_an_engine(tmp_path: Path, rng: np.random.Generator) -> None:
    shape = BertShape(
        hidden=16, layers=2, heads=2, inner=32, vocabulary=20, positions=16, types=2, epsilon=1e-12
    )
    weights = {name: rng.normal(size=size) for name, size in parameters(shape).items()}
    ids = np.arange(12).reshape(2, 6)
    recipe = Short(name="n", method="m", licence="none", files={}, max_tokens=16)
    with drafted(tmp_path / "m") as draft:
        path = draft / "text.onnx"
        path.write_bytes(graph(shape, weights).SerializeToString())
        convert(path, "float16", [{"input_ids": ids, "attention_mask": np.ones_like(ids)}])
        model = seal(draft, tmp_path / "m", recipe)
    (engine,) = build(model, target="sm89")
    assert engine.stat().st_size > 1_000


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    (model.path / "text.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="TensorRT cannot read it"):
        build(model, target="sm89")


def test_without_tensorrt_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "library", lambda: None)
    with pytest.raises(ModelError, match="pip install tensorrt"):
        build(folder(tmp_path / "m"))


@pytest.mark.skipif(device() is not None, reason="there is a GPU")
def test_without_a_gpu_the_graph_runs_on_onnx_runtime(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    build(model, target="sm89")
    sha256 = model.recipe.files["text.onnx"]
    assert built(model.path, "text", sha256, limits(model.recipe)) is None
    assert model.session("text").runtime == "onnxruntime CPUExecutionProvider"


@pytest.mark.gpu
def test_an_engine_gives_what_the_graph_gives(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    ids = np.arange(35).reshape(5, 7) % 10
    expected = model.session("text").run({"input_ids": ids})["embedding"]
    build(model)
    session = model.session("text")
    assert session.runtime.startswith("tensorrt")
    for _ in range(2):
        assert session.run({"input_ids": ids})["embedding"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(InputError, match="from"):
        session.run({"input_ids": np.ones((1, 99), dtype=np.int64)})
