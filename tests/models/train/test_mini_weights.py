"""The committed tower, through ONNX Runtime alone."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")

import tamis.models  # noqa: E402

FOLDER = Path(tamis.models.__file__).parent / "weights" / "tamis_mini"
NAMES = ["embedding", "tokens", "visual", "attention"]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["vision.onnx", "vision.int8.onnx"])
def session(request: pytest.FixtureRequest) -> Any:
    return onnxruntime.InferenceSession(FOLDER / request.param, providers=["CPUExecutionProvider"])


def test_model_toml_describes_the_graph() -> None:
    told = tomllib.loads((FOLDER / "model.toml").read_text())
    assert told["files"] == {
        name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
        for name in ("vision.onnx", "vision.int8.onnx")
    }
    session = onnxruntime.InferenceSession(FOLDER / "vision.onnx")
    (given,) = session.get_inputs()
    assert given.name == "pixels"
    assert given.type == "tensor(uint8)"
    assert given.shape[1:] == [told["image_size"], told["image_size"], 3]
    made = {output.name: output.shape for output in session.get_outputs()}
    patches = (told["image_size"] // told["patch"]) ** 2
    assert made["embedding"][1:] == [told["dim"]]
    assert made["tokens"][1:] == [patches, told["dim"]]
    assert made["visual"][1:] == [patches, told["width"]]
    assert made["attention"][1:] == [patches]


def test_vectors_are_finite_and_of_unit_length(session: Any, pixels: np.ndarray) -> None:
    embedding, tokens, visual, attention = session.run(NAMES, {"pixels": pixels})
    assert all(np.isfinite(part).all() for part in (embedding, tokens, visual, attention))
    assert np.linalg.norm(embedding, axis=-1) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(tokens, axis=-1) == pytest.approx(1, abs=1e-4)
    assert attention.sum(axis=-1) == pytest.approx(1, abs=1e-4)


def test_a_batch_is_its_pictures(pixels: np.ndarray) -> None:
    session = onnxruntime.InferenceSession(FOLDER / "vision.onnx")
    together = session.run(NAMES, {"pixels": pixels})
    for i in range(len(pixels)):
        alone = session.run(NAMES, {"pixels": pixels[i : i + 1]})
        for one, many in zip(alone, together, strict=True):
            assert np.abs(one[0] - many[i]).max() < 1e-4


def test_int8_agrees_with_float32() -> None:
    # Drawn shapes, not noise: dynamic scales are made for pictures.
    drawn = np.full((4, 96, 96, 3), 255, dtype=np.uint8)
    for i, colour in enumerate(((220, 30, 30), (30, 160, 40), (20, 40, 200), (10, 10, 10))):
        drawn[i, 20 : 60 + 8 * i, 30 - 6 * i : 70] = colour
    one, other = (
        onnxruntime.InferenceSession(FOLDER / name).run(["embedding"], {"pixels": drawn})[0]
        for name in ("vision.onnx", "vision.int8.onnx")
    )
    assert ((one * other).sum(axis=1) > 0.95).all()
