"""How stamps are listed and dealt to the sides of training."""

import subprocess
from pathlib import Path

import pytest

from tamis.models.train import stamps as module
from tamis.models.train.stamps import PicturesError, captioned, groups, split


def stamp(folder: Path, name: str, caption: str, suffix: str = ".png") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(suffix).write_bytes(b"")
    path.with_suffix(".txt").write_text(f"{caption}\nfr.utf8=Une image.\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for letter in "abcdefghijkl":
        stamp(tmp_path, f"animals/{letter}{letter}{letter}", f"A {letter}.")
    stamp(tmp_path, "animals/crow1", "A crow.")
    stamp(tmp_path, "animals/crow2", "Another crow.")
    stamp(tmp_path, "town/raven", "another crow.")
    stamp(tmp_path, "town/house_left", "A house.")
    stamp(tmp_path, "town/house_right", "A big house.", ".svg")
    return tmp_path


def test_lists_english_captions_only(folder: Path) -> None:
    (folder / "animals/aaa.txt").write_text("fr.utf8=Un a.\n")
    (folder / "animals/bbb.txt").write_text("")
    (folder / "animals/ccc.png").unlink()
    listed = captioned(folder)
    assert {s.path.stem for s in listed}.isdisjoint({"aaa", "bbb", "ccc"})
    assert ("A d.", folder / "animals/ddd.png") in [(s.caption, s.path) for s in listed]


def test_near_duplicates_are_one_group(folder: Path) -> None:
    together = [
        {s.path.stem for s in group}
        for group in groups(folder, captioned(folder, (".png", ".svg")))
    ]
    assert {"crow1", "crow2", "raven"} in together
    assert {"house_left", "house_right"} in together


def test_no_group_and_no_picture_is_on_two_sides(folder: Path) -> None:
    sides = split(folder, held_out=8, validation=3)
    assert [len(sides.held_out), len(sides.validation)] == [8, 3]
    names = [{s.path.stem for s in side} for side in sides]
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & names[2]
    for pair in ({"crow1", "crow2", "raven"}, {"house_left", "house_right"}):
        assert sum(bool(pair & side) for side in names) == 1


def test_only_png_is_held_out(folder: Path) -> None:
    sides = split(folder, held_out=15, validation=1)
    assert all(s.path.suffix == ".png" for s in (*sides.held_out, *sides.validation))


def test_the_split_depends_on_names_alone(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("other")
    for path in sorted(folder.rglob("*.*"), reverse=True):
        copy = elsewhere / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    here, there = split(folder, 8, 3), split(elsewhere, 8, 3)
    assert [s.path.name for s in here.held_out] == [s.path.name for s in there.held_out]


def test_says_what_is_missing_where_there_is_no_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PicturesError, match="apt-get is needed"):
        module.stamps(tmp_path / "cache")


def test_a_fetched_tree_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / module.PACKAGE).mkdir()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("ran a command"))
    assert module.stamps(tmp_path).parts[-3:] == ("share", "tuxpaint", "stamps")
