"""Tux Paint's stamps: captioned pictures that any Debian mirror has, and how they are split.

Uses the standard library alone, so that the demo and the CLI can fetch pictures cheaply.
"""

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tamis.models.errors import TamisError

PACKAGE = "tuxpaint-stamps-default"
CACHE = Path.home() / ".cache" / "tamis"
HELD_OUT = 400
VALIDATION = 64
_VARIANT = re.compile(r"\d+|mirror|flip(ped)?|filled|outline|left|right|small|large|big")


class PicturesError(TamisError):
    """Pictures could not be had from a package."""


class Stamp(NamedTuple):
    """One picture and its English caption."""

    path: Path
    caption: str


class Split(NamedTuple):
    """The sides of the stamps. No group of near-duplicates is on two of them."""

    held_out: list[Stamp]
    validation: list[Stamp]
    training: list[Stamp]


def stamps(cache: Path) -> Path:
    """The folder of the stamps, fetched into `cache` on the first call (160 MB).

    Raises:
        PicturesError: There is no apt-get or dpkg here, or no mirror answered.
    """
    return unpacked(PACKAGE, cache) / "usr/share/tuxpaint/stamps"


def captioned(folder: Path, suffixes: Iterable[str] = (".png",)) -> list[Stamp]:
    """The pictures that have an English caption, sorted by path.

    A stamp drawn in several formats is listed once, in the first format of `suffixes`.
    """
    found = []
    for text in sorted(folder.rglob("*.txt")):
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        caption = lines[0].strip() if lines else ""
        pictures = [path for suffix in suffixes if (path := text.with_suffix(suffix)).exists()]
        if pictures and caption and not re.match(r"\w+(\.utf8)?=", caption):
            found.append(Stamp(pictures[0], caption))
    return found


def split(folder: Path, held_out: int = HELD_OUT, validation: int = VALIDATION) -> Split:
    """Deals whole groups of stamps to the sides, in the order of a hash of their names.

    Stamps of one folder whose names differ only by a number or a word like "mirror", and stamps
    with one caption, are a group. Groups are taken in the order of the SHA-256 of their first
    path; a group that would overfill a side waits for the next one. Only PNG pictures are
    counted and held out, so that evaluating needs no SVG rasteriser; an SVG picture trains, or
    is left out with its group.
    """
    sides = Split([], [], [])
    room = [held_out, validation]
    for group in groups(folder, captioned(folder, (".png", ".svg"))):
        pictures = [stamp for stamp in group if stamp.path.suffix == ".png"]
        side = next((i for i in (0, 1) if 0 < len(pictures) <= room[i]), None)
        if side is None:
            sides.training.extend(group)
        else:
            room[side] -= len(pictures)
            sides[side].extend(pictures)
    return sides


def groups(folder: Path, listed: list[Stamp]) -> list[list[Stamp]]:
    """Near-duplicates together, in the order of the SHA-256 of each group's first path."""
    leaders = list(range(len(listed)))

    def leader(index: int) -> int:
        while leaders[index] != index:
            index = leaders[index]
        return index

    first: dict[str, int] = {}
    for index, stamp in enumerate(listed):
        name = stamp.path.relative_to(folder)
        stem = re.sub(r"[-_ ]+", "", _VARIANT.sub("", name.stem.lower()))
        for key in (f"name {name.parent.as_posix()}/{stem}", f"caption {stamp.caption.lower()}"):
            one, other = sorted((leader(index), leader(first.setdefault(key, index))))
            leaders[other] = one
    together: dict[int, list[Stamp]] = {}
    for index, stamp in enumerate(listed):
        together.setdefault(leader(index), []).append(stamp)

    def order(group: list[Stamp]) -> str:
        name = group[0].path.relative_to(folder).with_suffix("").as_posix()
        return hashlib.sha256(name.encode()).hexdigest()

    return sorted(together.values(), key=order)


def unpacked(package: str, cache: Path) -> Path:
    """The unpacked tree of a Debian package, fetched on the first call; needs no root.

    Raises:
        PicturesError: There is no apt-get or dpkg here, or no mirror answered.
    """
    tree = cache / package
    if tree.exists():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        archive = _downloaded(package, folder)
        _run(["dpkg", "-x", archive.name, "tree"], folder)
        try:
            # Renaming is atomic: a tree that exists is whole, even if two processes fetch it.
            (folder / "tree").rename(tree)
        except OSError:
            if not tree.exists():
                raise
    return tree


def _downloaded(package: str, folder: Path) -> Path:
    try:
        _run(["apt-get", "download", package], folder)
    except PicturesError:
        # apt has no lists here (or may not read them): fetch some into a place of our own.
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        own = [f"-oDir::State={folder / 'state'}", f"-oDir::Cache={folder / 'cache'}"]
        _run(["apt-get", *own, "update"], folder)
        _run(["apt-get", *own, "download", package], folder)
    return next(folder.glob("*.deb"))


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PicturesError(
            f"{command[0]} is needed to fetch pictures; this is no Debian"
        ) from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise PicturesError(f"`{' '.join(command)}` failed: {' '.join(said)}") from error
