"""Captioned pictures from packages: fetched, rasterised once, and cached for training.

Stamps, clip art, emoji in several styles, icons and glyphs. What resembles a held-out stamp is
left out whatever package it is in. Needs `resvg-py` (SVG) besides what serving needs.
"""

import json
import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Int, UInt8

from tamis.models.train.rasters import SIZE, Job, rasterised, unlike_held_out
from tamis.models.train.stamps import PicturesError, Split, Stamp, split, stamps, unpacked

# An icon set of npm's @iconify-json, and how much of it is trained on.
EMOJI = (
    "noto", "noto-v1", "twemoji", "openmoji", "fluent-emoji", "fluent-emoji-flat", "emojione",
    "fxemoji",
)  # fmt: skip
ICONS = (
    "flat-color-icons", "streamline-ultimate-color", "streamline-plump-color",
    "streamline-kameleon-color", "game-icons",
)  # fmt: skip
FONTS = {
    "fonts-dejavu-core": ("DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"),
    "fonts-freefont-ttf": ("FreeSansBold.ttf", "FreeSerif.ttf", "FreeMonoBold.ttf"),
    "fonts-liberation": ("LiberationSans-Bold.ttf", "LiberationSerif-Italic.ttf"),
    "fonts-symbola": ("Symbola_hint.ttf",),
}
# Names of emoji that are another's in one of five skin tones, and of unnamed ones.
_HUE = re.compile(r"skin-tone|tone-?\d|-(light|medium|dark)$|-low$|^u?[0-9a-f]{4,}(-|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures in memory.

    Attributes:
        pixels: RGBA; white where transparent.
        sources: Where each is from; stamps are "held_out", "validation" or "stamps".
        captions: One or several a picture; of a stamp, the first is its caption.
    """

    pixels: UInt8[np.ndarray, "pictures height width 4"]
    sources: list[str]
    captions: list[list[str]]

    def where(self, *sources: str) -> Int[np.ndarray, " chosen"]:
        """The indices of the pictures from these sources."""
        return np.flatnonzero(np.isin(self.sources, sources))


def prepare(cache: Path) -> Pictures:
    """All pictures; fetched and rasterised on the first call (some minutes on two cores)."""
    pixels_file, captions_file = cache / f"pictures_{SIZE}.npy", cache / f"pictures_{SIZE}.json"
    if not captions_file.exists():
        listed = list(jobs(cache))
        with ProcessPoolExecutor() as pool:
            drawn = list(pool.map(rasterised, listed, chunksize=64))
        kept = [
            (job, picture)
            for job, picture in zip(listed, drawn, strict=True)
            if picture is not None
        ]
        pixels = np.stack([picture for _, picture in kept])
        alone = unlike_held_out(pixels, [job.source for job, _ in kept])
        np.save(pixels_file, pixels[alone])
        rows = [(kept[i][0].source, kept[i][0].captions) for i in alone]
        captions_file.write_text(json.dumps(rows))
    rows = json.loads(captions_file.read_text())
    return Pictures(
        pixels=np.load(pixels_file),
        sources=[source for source, _ in rows],
        captions=[captions for _, captions in rows],
    )


def jobs(cache: Path) -> Iterator[Job]:
    """Every picture of every source, with its captions."""
    folder = stamps(cache)
    sides: Split = split(folder)
    for side, name in zip(sides, ("held_out", "validation", "stamps"), strict=True):
        for stamp in side:
            yield Job(name, _of_stamp(stamp, folder), path=str(stamp.path))
    yield from _clip_art(unpacked("openclipart-svg", cache) / "usr/share/openclipart/svg")
    yield from _words(unpacked("pysiogame", cache))
    yield from _icons(cache)
    yield from _glyphs(cache)


def _of_stamp(stamp: Stamp, folder: Path) -> tuple[str, ...]:
    name, *places = [stamp.path.stem, *reversed(stamp.path.relative_to(folder).parts[:-1])]
    short = stamp.caption.rstrip(".!")
    return (stamp.caption, spoken(name) or short, f"{short}, {spoken(' '.join(places[:2]))}")


def _clip_art(folder: Path) -> Iterator[Job]:
    seen: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.svg")):
        if path.is_symlink():
            continue  # filed under a second subject
        try:
            root = ElementTree.parse(path).getroot()  # noqa: S314 - a package that Debian signed
        except ElementTree.ParseError:
            continue
        named: dict[str, list[str]] = {"title": [], "description": [], "li": []}
        for element in root.iter():
            tag = str(element.tag).rpartition("}")[2]
            if tag in named and element.text and element.text.strip():
                named[tag].append(element.text.strip())
        # Files are called thing_author_number: the title, where there is one, has no author.
        words = spoken(re.sub(r"_[a-z]+_[a-z]*_?\d*$", "", path.stem))
        title = next((spoken(t) for t in named["title"] if len(t) > 2), words)
        keys = ", ".join(dict.fromkeys(k for k in named["li"] if len(k) > 2 and k != "hash(0x)"))
        seen[title] += 1
        if seen[title] > 3:
            title = words  # a whole theme's
        told = next((t for t in named["description"] if len(t) > 5), "")[:160]
        place = spoken(path.parent.name)
        captions = (title or words, keys, told, f"{title or words}, {place}")
        yield Job("openclipart", _distinct(captions), path=str(path))


def _words(tree: Path) -> Iterator[Job]:
    for path in sorted((tree / "usr/share/games/pysiogame/res/images/art4apps").rglob("*.jpg")):
        name, place = spoken(path.stem), spoken(path.parent.name).replace(" n ", " and ")
        yield Job("art4apps", _distinct((name, f"{name}, {place}")), path=str(path))


def _icons(cache: Path) -> Iterator[Job]:
    emoji = _emoji_captions(cache)
    for style in EMOJI + ICONS:
        icons = json.loads((npm(f"@iconify-json/{style}", cache) / "icons.json").read_text())
        for name, icon in icons["icons"].items():
            if _HUE.search(name):
                continue  # five hues of one hand teach little
            captions = emoji.get(_bare(name), ()) or (spoken(name),)
            if style == "fxemoji" and _bare(name) not in emoji:
                continue  # its names have no spaces
            box = [
                icon.get(k, icons.get(k, d)) for k, d in (("left", 0), ("top", 0), ("width", 16))
            ]
            box.append(icon.get("height", icons.get("height", 16)))
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" '
                'xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'
            )
            yield Job(style, captions, svg=svg)


def _emoji_captions(cache: Path) -> dict[str, tuple[str, ...]]:
    """Names and keywords of emoji under the names that the icon sets give them."""
    known: dict[str, tuple[str, ...]] = {}
    told: list[dict[str, Any]] = json.loads(
        (npm("emojibase-data", cache) / "en/data.json").read_text()
    )
    more: dict[str, list[str]] = json.loads(
        (npm("emojilib", cache) / "dist/emoji-en-US.json").read_text()
    )
    by_code: dict[str, tuple[str, ...]] = {}
    for emoji in told:
        label, tags = emoji["label"], emoji.get("tags", [])
        keys = [spoken(k) for k in more.get(emoji["emoji"], [])[1:] if k.isascii() and len(k) > 2]
        captions = (label, f"{label}, {', '.join(tags)}", ", ".join(tags), ", ".join(keys[:8]))
        known[_bare(label)] = by_code[emoji["hexcode"].lower()] = _distinct(captions)
    for style in EMOJI:
        characters = npm(f"@iconify-json/{style}", cache) / "chars.json"
        if characters.exists():
            for code, name in json.loads(characters.read_text()).items():
                if code in by_code:
                    known.setdefault(_bare(name), by_code[code])
    return known


def _glyphs(cache: Path) -> Iterator[Job]:
    signs = [chr(c) for c in (*range(0x21, 0x7F), *range(0xC0, 0x180), *range(0x20A0, 0x20B6))]
    signs += [chr(c) for c in (*range(0x2190, 0x21A0), *range(0x2200, 0x2270), 0x266D, 0x266F)]
    signs += [chr(c) for c in (*range(0x25A0, 0x2700), *range(0x1D100, 0x1D190))]
    for package, names in FONTS.items():
        tree = unpacked(package, cache)
        for name in names:
            (path,) = tree.rglob(name)
            if "Symbola" in name:
                signs += [chr(c) for c in range(0x1F300, 0x1F6C0)]
            covered = _covered(path)
            for sign in signs:
                if ord(sign) in covered and (told := _of_sign(sign)):
                    for outline in (False, True) if sign.isalnum() else (False,):
                        yield Job("glyphs", told, path=str(path), glyph=sign, outline=outline)


def _covered(font: Path) -> set[int]:
    from fontTools.ttLib import TTFont

    return set(TTFont(font).getBestCmap())


def _of_sign(sign: str) -> tuple[str, ...]:
    name = unicodedata.name(sign, "").lower()
    name = re.sub(r"^(black|white|heavy|medium|musical symbol) ", "", name)
    if letter := re.match(r"latin (?:small|capital) letter (\w)( with .*)?$", name):
        told = f"The letter {letter[1].upper()}{letter[2] or ''}."
        return (told.replace("diaeresis", "an umlaut"), f"letter {letter[1]}")
    if sign.isdigit() and sign.isascii():
        return (f"{name.removeprefix('digit ')}.", f"the number {sign}")
    return (name,) if name else ()


def npm(package: str, cache: Path) -> Path:
    """The unpacked folder of an npm package, fetched on the first call.

    Raises:
        PicturesError: There is no npm here, or the package cannot be had.
    """
    folder = cache / package.replace("/", "_")
    if not folder.exists():
        if shutil.which("npm") is None:
            raise PicturesError(f"npm is needed to fetch {package}")
        scratch = cache / f"{folder.name}.part"
        scratch.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=scratch, capture_output=True, text=True
        )
        if packed.returncode:
            raise PicturesError(f"npm cannot fetch {package}: {packed.stderr.strip()[-200:]}")
        shutil.unpack_archive(next(scratch.glob("*.tgz")), scratch, filter="data")
        (scratch / "package").rename(folder)
        shutil.rmtree(scratch)
    return folder


def spoken(name: str) -> str:
    """A file's or icon's name as words."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[-_\d.]+", " ", name)
    return re.sub(r"\s+", " ", name).strip().lower()


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _distinct(captions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c for c in captions if len(c) > 1)) or ("picture",)
