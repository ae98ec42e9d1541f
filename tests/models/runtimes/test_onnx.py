"""Opening and running graphs, and what is said of those that cannot be."""

from pathlib import Path

import numpy as np
import pytest
from tiny_tower import DIM, PATCH, SIZE, graph

from tamis.models.errors import ModelError
from tamis.models.runtimes import Session
from tamis.models.runtimes.onnx import OnnxSession, options


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(graph(seed=0))
    return file


def test_a_graph_runs_by_its_own_names(path: Path) -> None:
    session = OnnxSession.open(path, threads=1)
    assert isinstance(session, Session)
    made = session.run({"pixels": np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)})
    assert {name: array.shape for name, array in made.items()} == {
        "embedding": (2, DIM),
        "tokens": (2, (SIZE // PATCH) ** 2, DIM),
        "visual": (2, (SIZE // PATCH) ** 2, 5),
        "attention": (2, (SIZE // PATCH) ** 2),
    }


def test_it_says_what_runs_it(path: Path) -> None:
    assert OnnxSession.open(path).runtime in (
        "onnxruntime CPUExecutionProvider",
        "onnxruntime CUDAExecutionProvider",
    )


def test_threads_do_not_spin_while_they_wait() -> None:
    chosen = options(3)
    assert (chosen.intra_op_num_threads, chosen.inter_op_num_threads) == (3, 1)
    assert chosen.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        OnnxSession.open(tmp_path / "gone.onnx")


def test_a_damaged_file_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime cannot load it: "):
        OnnxSession.open(path)
