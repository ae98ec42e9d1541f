"""A vision tower for tests, of the shape that tamis-mini's has: it averages each patch's colour."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tamis.models.encoders.tamis_mini import TamisMiniRecipe
from tamis.models.runtimes.folder import text

DIM, WIDTH, SIZE, PATCH = 8, 5, 96, 8


def tiny_tower(folder: Path, *, int8: bool = False, seed: int = 0) -> Path:
    """Writes a folder that `TamisMini` serves; with `int8`, one with a second graph."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {"vision.onnx": graph(seed)} | ({"vision.int8.onnx": graph(seed + 1)} if int8 else {})
    for name, content in graphs.items():
        (folder / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in graphs.items()}
    recipe = TamisMiniRecipe(
        name="tiny",
        method="tamis_mini",
        licence="Apache-2.0",
        files=digests,
        space="all-MiniLM-L6-v2",
        dim=DIM,
        width=WIDTH,
        image_size=SIZE,
        patch=PATCH,
        resize="pad",
        fill=(255, 255, 255),
    )
    (folder / "model.toml").write_text(text(recipe))
    return folder


def graph(seed: int) -> bytes:
    """Pixels to `embedding`, `tokens`, `visual` and `attention`."""
    rng = np.random.default_rng(seed)
    constants = {
        "place": rng.normal(size=(3, DIM)).astype(np.float32),
        "widen": rng.normal(size=(3, WIDTH)).astype(np.float32),
        "flat": np.array([0, 3, (SIZE // PATCH) ** 2]),
        "last": np.array([2]),
        "middle": np.array([1]),
    }
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", ["pixels"], "float", {"to": TensorProto.FLOAT}),
        ("Transpose", ["float"], "planes", {"perm": [0, 3, 1, 2]}),
        (
            "AveragePool",
            ["planes"],
            "pooled",
            {"kernel_shape": [PATCH, PATCH], "strides": [PATCH, PATCH]},
        ),
        ("Reshape", ["pooled", "flat"], "columns", {}),
        ("Transpose", ["columns"], "colours", {"perm": [0, 2, 1]}),
        ("MatMul", ["colours", "place"], "placed", {}),
        ("LpNormalization", ["placed"], "tokens", {"axis": -1}),
        ("MatMul", ["colours", "widen"], "visual", {}),
        ("ReduceMean", ["colours", "last"], "light", {"keepdims": 0}),
        ("Softmax", ["light"], "attention", {"axis": -1}),
        ("ReduceMean", ["tokens", "middle"], "mean", {"keepdims": 0}),
        ("LpNormalization", ["mean"], "embedding", {"axis": -1}),
    ]
    patches = (SIZE // PATCH) ** 2
    outputs: dict[str, list[str | int | None]] = {
        "embedding": ["batch", DIM],
        "tokens": ["batch", patches, DIM],
        "visual": ["batch", patches, WIDTH],
        "attention": ["batch", patches],
    }
    made = helper.make_graph(
        [helper.make_node(op, inputs, [output], **more) for op, inputs, output, more in steps],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())
