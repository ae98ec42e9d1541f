"""The golden data: what the authors' own code computes, outside the repository."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

FOLDER = Path(
    os.environ.get("TAMIS_GOLDEN") or Path(__file__).parents[1].parent / "shared" / "golden"
)


def golden_cases(system: str) -> list[ParameterSet]:
    """Every case of a system as the parameter `case`, its folder; a skipped one if there is none.

    A case is a folder, however deep, whose `config.json` names the system. Sizes, seeds and
    settings differ from case to case: they are read from there and from the tensors.
    """
    found = [path.parent for path in sorted(FOLDER.rglob("config.json")) if of(path) == system]
    if not found:
        skip = pytest.mark.skip(reason=f"no case of {system} in {FOLDER}; set TAMIS_GOLDEN")
        return [pytest.param(None, id="absent", marks=[pytest.mark.golden, skip])]
    return [
        pytest.param(case, id=str(case.relative_to(FOLDER)), marks=pytest.mark.golden)
        for case in found
    ]


def of(path: Path) -> Any:
    """The system that a `config.json` is of."""
    config = json.loads(path.read_text())
    return config.get("system") if isinstance(config, dict) else None
