"""Engines of a model folder's graphs, built by TensorRT, which needs no GPU for it."""

from typing import Any

import pytest

from tamis.models.export.tensorrt import build
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.tensorrt import device, library


def build_engines(model: ModelFolder[Any]) -> None:
    """Asserts that TensorRT reads each of a folder's graphs and makes an engine of it.

    The engines are removed: with them there, other tests would no longer run the graphs.
    """
    trt = library()
    if trt is None or (trt.__name__ == "tensorrt" and device() is None):
        pytest.skip("no TensorRT that builds engines here")
    made = build(model)
    names = [path.name.split(".")[0] for path in made]
    sizes = [path.stat().st_size for path in made]
    for path in made:
        path.unlink()
    assert sorted(f"{name}.onnx" for name in names) == sorted(
        name for name in model.recipe.files if name.endswith(".onnx")
    )
    assert min(sizes) > 1_000
