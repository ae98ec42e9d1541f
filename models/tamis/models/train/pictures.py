"""Captioned pictures from packages: fetched, rasterised once, and cached for training.

Stamps, clip art, emoji in several styles, icons and glyphs. What resembles a held-out stamp is
left out whatever package it is in. Needs `resvg-py` (SVG) besides what serving needs.
"""

import io
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
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from tamis.models.runtimes.fit import fit, scaled
from tamis.models.train.stamps import PicturesError, Split, Stamp, split, stamps, unpacked

SIZE = 96
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
# Mean absolute difference of two 16 x 16 thumbnails (0 to 255) under which they are one picture.
SAME = 17.0


class Job(NamedTuple):
    """A picture to rasterise: a file, the text of an SVG, or a glyph of a font."""

    source: str
    captions: tuple[str, ...]
    path: str = ""
    svg: str = ""
    glyph: str = ""
    outline: bool = False


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


def rasterised(job: Job) -> UInt8[np.ndarray, "96 96 4"] | None:
    """The picture cropped to what is drawn, its longer side 96 pixels; None if unreadable.

    Stamps keep their margins, as `fit` does when they are searched for.
    """
    try:
        image = drawn(job).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    box = image.getbbox(alpha_only=True)
    if box is None:
        return None
    if job.source in ("held_out", "validation", "stamps"):
        box = (0, 0, *image.size)
    small = image.crop(box)
    small = small.resize(scaled(small.size, SIZE), Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 0))
    square.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    pixels = np.array(square)
    pixels[pixels[..., 3] == 0] = (255, 255, 255, 0)
    return pixels


def drawn(job: Job) -> Image.Image:
    """The picture at a few times the size it is kept in."""
    if job.glyph:
        font = ImageFont.truetype(job.path, 2 * SIZE)
        image = Image.new("RGBA", (4 * SIZE, 4 * SIZE), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        if job.outline:
            draw.text((SIZE, SIZE), job.glyph, "white", font, stroke_width=6, stroke_fill="black")
        else:
            draw.text((SIZE, SIZE), job.glyph, "black", font)
        return image
    if job.svg or job.path.endswith(".svg"):
        from resvg_py import svg_to_bytes

        text = job.svg or Path(job.path).read_text(encoding="utf-8", errors="replace")
        return Image.open(io.BytesIO(bytes(svg_to_bytes(svg_string=text, width=3 * SIZE, dpi=96))))
    return Image.open(job.path)


def unlike_held_out(
    pixels: UInt8[np.ndarray, "pictures height width 4"], sources: list[str]
) -> Int[np.ndarray, " kept"]:
    """The indices of the pictures that may be used.

    A picture whose thumbnail, or its mirror image, is that of a held-out stamp is left out, and
    so is a training picture that is like a validation stamp.
    """
    thumbnails = np.stack([thumbnail(picture) for picture in pixels])
    mirrored = thumbnails.reshape(-1, 16, 16, 3)[:, :, ::-1].reshape(len(thumbnails), -1)
    side = np.array([{"held_out": 0, "validation": 1}.get(source, 2) for source in sources])
    keep = np.ones(len(pixels), dtype=bool)
    for guarded in (0, 1):
        for seen in thumbnails[side == guarded]:
            for other in (thumbnails, mirrored):
                keep[(side > guarded) & (np.abs(other - seen).mean(1) < SAME)] = False
    return np.flatnonzero(keep)


def thumbnail(picture: UInt8[np.ndarray, "height width 4"]) -> Float[np.ndarray, " 768"]:
    """16 x 16 RGB of what is drawn, stretched to the square; on white."""
    image = Image.fromarray(picture)
    box = image.getbbox(alpha_only=True) or (0, 0, *image.size)
    flat = fit(image.crop(box).resize((16, 16), Image.Resampling.BOX), 16)
    return flat.astype(np.float32).reshape(-1)


def spoken(name: str) -> str:
    """A file's or icon's name as words."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[-_\d.]+", " ", name)
    return re.sub(r"\s+", " ", name).strip().lower()


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _distinct(captions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c for c in captions if len(c) > 1)) or ("picture",)
