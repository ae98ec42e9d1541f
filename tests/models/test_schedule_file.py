"""Schedules that a search found, as files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.refiners import LayerRefiner
from tamis.models.schedule_file import Schedule, read, write

TABLE: dict[str, Any] = {
    "method": "g_search",
    "rates": [1.0, 0.5, 0.25],
    "model": "mini_vlm",
    "questions": 300,
    "accuracy": 0.95,
    "full_accuracy": 1,
    "settings": {"tolerance": 0.01, "seed": 0},
}


def written(folder: Path, table: Any) -> str:
    path = folder / "schedule.json"
    path.write_text(json.dumps(table))
    return str(path)


@pytest.mark.parametrize("method", ["g_search", "p_sigmoid"])
def test_a_refiner_reads_what_its_search_wrote(method: str, tmp_path: Path) -> None:
    found = Schedule(
        method=method,
        rates=(1.0, 0.5, 0.25),
        model="mini",
        questions=9,
        accuracy=0.9,
        full_accuracy=0.95,
    )
    write(found, tmp_path / "schedule.json")
    assert read(tmp_path / "schedule.json", method) == found
    settings = {"schedule": str(tmp_path / "schedule.json")}
    assert catalog.load(LayerRefiner, method, settings).layers == (1, 2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "expected an object, got list"),
        (TABLE | {"rates": [0.5, 0.6]}, r"schedule .*\.json: rates must not rise"),
        (TABLE | {"rates": []}, r"rates must be above 0"),
        (TABLE | {"rates": ["half"]}, r"rates\[0\]: expected float, got 'half'"),
        (TABLE | {"ratio": 1}, r"ratio: unknown; known: method, rates"),
        ({"rates": [1.0]}, r"\.method: missing"),
        (TABLE | {"method": "p_sigmoid"}, "is for 'p_sigmoid', not for 'g_search'"),
    ],
)
def test_a_file_of_another_kind_is_refused(table: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(LayerRefiner, "g_search", {"schedule": written(tmp_path, table)})


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"schedule\.json: cannot be read"):
        catalog.load(LayerRefiner, "p_sigmoid", {"schedule": str(path)})


@pytest.mark.parametrize("settings", [{}, {"rates": [1.0, 0.5], "schedule": "a.json"}])
def test_either_shares_or_a_file(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="either rates or a schedule"):
        catalog.load(LayerRefiner, "g_search", settings)
