"""What engines are built for: every free axis of every exporter, as far as recipes say."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tamis.models.export
from tamis.models.blocks.batches import ROOM
from tamis.models.runtimes.folder import Recipe
from tamis.models.runtimes.patches import Patching
from tamis.models.runtimes.profiles import AXES, SAID, limits

SAME: dict[str, Any] = {"name": "n", "method": "m", "licence": "none", "files": {}}
EXPORTERS = sorted(Path(tamis.models.export.__path__[0]).glob("*.py"))


def free_axes(source: str) -> set[str]:
    """The names of free axes in a module: values of dicts from an axis' number to its name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Dict) or not node.keys:
            continue
        pairs = [
            (getattr(k, "value", None), v) for k, v in zip(node.keys, node.values, strict=True)
        ]
        if all(type(key) is int and isinstance(v, ast.Constant) for key, v in pairs):
            found |= {value.value for _, value in pairs if isinstance(value, ast.Constant)}
    return {name for name in found if isinstance(name, str)}


@pytest.mark.parametrize("path", EXPORTERS, ids=lambda path: path.stem)
def test_every_free_axis_of_an_exporter_has_limits(path: Path) -> None:
    assert free_axes(path.read_text()) <= AXES.keys()


def test_axes_are_found_where_exporters_name_them() -> None:
    found = set().union(*(free_axes(path.read_text()) for path in EXPORTERS))
    assert {"batch", "captions", "before", "kept", "source", "pairs", "regions"} <= found
    assert free_axes('DYNAMIC = {"x": {0: "batch", 2: "clouds"}}') == {"batch", "clouds"}


@dataclass(frozen=True, kw_only=True)
class Texts(Recipe):
    """A recipe that bounds its texts."""

    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Pictured(Recipe):
    """A recipe that bounds texts in another recipe, and pictures by their grid."""

    text: Texts
    grid: tuple[int, ...]
    patching: Patching | None


@pytest.mark.parametrize(
    ("patching", "patches"),
    [(None, AXES["patches"]), (Patching(max_pixels=56 * 56), (4, 16, 16))],
)
def test_a_recipe_says_how_long_its_axes_become(
    patching: Patching | None, patches: tuple[int, int, int]
) -> None:
    text = Texts(**SAME, max_tokens=200)
    recipe = Pictured(**SAME, text=text, grid=(7, 5), patching=patching)
    assert limits(text)["length"] == limits(recipe)["length"] == (1, 64, 200)
    assert limits(recipe)["states"] == (0, 35, 35)
    assert limits(recipe)["patches"] == patches
    assert limits(recipe)["batch"] == AXES["batch"]


def test_a_language_model_reads_as_much_as_it_says_and_as_a_run_may() -> None:
    short, long = (limits(Texts(**SAME, max_tokens=most)) for most in (300, 131_072))
    assert short["length"] == short["source"] == (1, 64, 300)
    assert short["before"] == (0, 64, 300)
    assert short["kept"] == (1, 1, 300)
    assert [long[axis][2] for axis in ("length", "source", "before", "kept")] == 4 * [ROOM]


@given(most=st.integers(1, 1 << 20))
def test_the_usual_is_always_between_the_least_and_the_most(most: int) -> None:
    for low, usual, high in limits(Texts(**SAME, max_tokens=most)).values():
        assert 0 <= low <= usual <= high
    assert limits(Texts(**SAME, max_tokens=most)).keys() == AXES.keys() >= SAID.keys()
