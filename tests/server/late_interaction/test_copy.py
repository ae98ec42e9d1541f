"""The copy in bytes: what it scores, and that a damaged one is not used."""

import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from tamis.models.blocks.similarity import max_sim, unit
from tamis.models.runtimes.max_sim import Kernel, numpy_kernel, onnx_kernel
from tamis.server.late_interaction.copy import Copy, CopyDamagedError, CopyWriter

LENGTHS = (1, 3, 64, 5, 700, 64, 2, 33)


def uuid(number: int) -> str:
    return str(UUID(int=(number + 1) << 70))


@pytest.fixture
def documents(rng: np.random.Generator) -> list[np.ndarray]:
    return [unit(rng.normal(size=(length, 32))).astype(np.float32) for length in LENGTHS]


def written(folder: Path, documents: list[np.ndarray], bits: int = 8) -> Path:
    writer = CopyWriter(folder, dim=32, bits=bits)
    for half in (slice(0, 3), slice(3, None)):
        numbers = range(len(documents))[half]
        found = {uuid(i): documents[i] for i in numbers}
        writer.add(found, {uuid(i): 10 + i for i in numbers})
    writer.finish()
    return folder


@pytest.mark.parametrize("kernel", [onnx_kernel(), numpy_kernel()], ids=lambda one: one.name)
@pytest.mark.parametrize(("bits", "error"), [(8, 0.05), (4, 0.7)])
def test_documents_of_any_length_score_what_max_sim_gives(
    tmp_path: Path,
    documents: list[np.ndarray],
    rng: np.random.Generator,
    kernel: Kernel,
    bits: int,
    error: float,
) -> None:
    copy = Copy.open(written(tmp_path / "copy", documents, bits))
    query = unit(rng.normal(size=(12, 32))).astype(np.float32)
    order = rng.permutation(len(documents))
    exact = max_sim(query, [documents[i] for i in order])
    assert np.abs(copy.scores(query, order, kernel) - exact).max() < error
    bytes_each = copy.vectors.nbytes / sum(LENGTHS)
    assert bytes_each == 32 * bits / 8


def test_very_many_documents_are_scored_in_parts(tmp_path: Path, rng: np.random.Generator) -> None:
    documents = [unit(rng.normal(size=(4, 32))).astype(np.float32) for _ in range(1_000)]
    copy = Copy.open(written(tmp_path / "copy", documents))
    query = unit(rng.normal(size=(320, 32))).astype(np.float32)
    scores = copy.scores(query, np.arange(1_000), onnx_kernel())
    assert np.abs(scores - max_sim(query, documents)).max() < 1


def test_a_document_is_found_by_its_id_and_its_version(
    tmp_path: Path, documents: list[np.ndarray]
) -> None:
    copy = Copy.open(written(tmp_path / "copy", documents))
    asked = [(uuid(5), 15), (uuid(0), 10), (uuid(99), 10), (uuid(2), 99)]
    rows = copy.rows([one for one, _ in asked], [version for _, version in asked])
    assert rows.tolist() == [5, 0, -1, -1]


def test_what_has_no_version_or_no_vectors_is_left_out(tmp_path: Path) -> None:
    writer = CopyWriter(tmp_path / "copy", dim=4, bits=8)
    one, none = np.ones((1, 4), dtype=np.float32), np.empty((0, 4), dtype=np.float32)
    writer.add({uuid(0): one, uuid(1): one, uuid(2): none}, {uuid(0): 1, uuid(2): 1})
    writer.finish()
    assert len(Copy.open(tmp_path / "copy")) == 1


def test_an_empty_copy_finds_nothing(tmp_path: Path) -> None:
    CopyWriter(tmp_path / "copy", dim=4, bits=8).finish()
    assert Copy.open(tmp_path / "copy").rows([uuid(0)], [1]).tolist() == [-1]


@pytest.mark.parametrize("file", ["vectors.bin", "ids.npy", "starts.npy", "copy.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_copy_is_not_opened(
    tmp_path: Path, documents: list[np.ndarray], file: str, how: str
) -> None:
    path = written(tmp_path / "copy", documents) / file
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-9] + b"\xff" + data[-8:])
    with pytest.raises(CopyDamagedError):
        Copy.open(tmp_path / "copy")


def test_a_copy_of_another_format_is_not_opened(
    tmp_path: Path, documents: list[np.ndarray]
) -> None:
    path = written(tmp_path / "copy", documents) / "copy.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(CopyDamagedError, match="format 2, not 1"):
        Copy.open(tmp_path / "copy")


def test_an_odd_number_of_dimensions_has_no_halves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vectors of 7 numbers cannot be kept in 4 bits"):
        CopyWriter(tmp_path / "copy", dim=7, bits=4)
