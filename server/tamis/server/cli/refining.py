"""Refining one picture, and what a person sees of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from tamis.models.blocks.topk import top_k
from tamis.models.errors import ImageError, SettingsError, UnknownMethodError
from tamis.models.runtimes.images import decode
from tamis.server.cli.tables import print_json, print_table
from tamis.server.config import Limits
from tamis.server.refined import Refined, draw, look, refine, visual_refiners

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What is done to a picture.

    Attributes:
        methods: Visual refiners; ``all`` for every one.
        keep: Tokens that each may keep.
        encoder: What makes the visual tokens: a method that needs no folder, or a model folder.
        query: Words; it is told how much is left of what is most like them.
        query_encoder: What reads them, in the space of the encoder's vectors of tokens.
        show: The file to draw into.
        json: Whether one JSON object a method is printed.
    """

    methods: Sequence[str]
    keep: int
    encoder: str
    query: str | None
    query_encoder: str
    show: Path | None
    json: bool


def refine_picture(picture: Path, wanted: Arguments) -> None:
    """Refines a picture's visual tokens by each method, prints what is left, and draws it.

    Raises:
        TamisError: An argument is out of range, or the file is no picture that we read.
        OSError: A file cannot be read or written.
    """
    methods = _known(wanted.methods)
    if wanted.show is not None:
        _check_drawing(wanted.show)
    seen = look(_read(picture), wanted.encoder, wanted.query, wanted.query_encoder)
    tokens, keep = seen.tokens, wanted.keep
    if not 1 <= keep <= len(tokens):
        raise SettingsError(f"--keep: {keep}: must be from 1 to {wanted.encoder}'s {len(tokens)}")
    refined = [refine(method, tokens, keep) for method in methods]
    sought = None if seen.likeness is None else top_k(seen.likeness, keep)
    title = f"{picture.name}: {len(tokens)} tokens of {wanted.encoder}, at most {keep} kept"
    (_print_json if wanted.json else _print_table)(refined, sought, title)
    if wanted.show is not None:
        draw(seen, refined, title, sought).save(wanted.show)
        if not wanted.json:
            sys.stdout.write(f"drawn: {wanted.show}\n")


def _read(path: Path) -> Image.Image:
    try:
        return decode(path.read_bytes(), max_pixels=Limits().max_image_pixels)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _known(methods: Sequence[str]) -> list[str]:
    known = visual_refiners()
    for method in methods:
        if method not in (*known, ALL):
            raise UnknownMethodError(
                f"--method: {method!r} is not one of: {', '.join(known)}; or {ALL}"
            )
    return known if ALL in methods else list(dict.fromkeys(methods))


def _check_drawing(path: Path) -> None:
    """Finds out now what would fail when all is done."""
    if path.suffix.lower() not in Image.registered_extensions():
        raise SettingsError(f"--show: {path}: not a picture's name, such as {path.stem}.png")
    if not path.parent.is_dir():
        raise SettingsError(f"--show: {path.parent}: no such folder")


def _print_table(
    refined: Sequence[Refined], sought: Int[np.ndarray, " n"] | None, title: str
) -> None:
    headings = ["method", ">before", ">after", ">ms", ">kept", ">merged", ">dropped"]
    rows = [
        [one.method, str(len(one.owners)), str(one.after), f"{one.ms:.2f}"]
        + [f"{share:.0%}" for share in (one.kept, one.merged, one.dropped)]
        + ([] if sought is None else [f"{one.found(sought):.0%}"])
        for one in refined
    ]
    print_table(headings + ([] if sought is None else [">like the query"]), rows, title)


def _print_json(
    refined: Sequence[Refined], sought: Int[np.ndarray, " n"] | None, title: str
) -> None:
    for one in refined:
        found = {} if sought is None else {"like_the_query": one.found(sought)}
        shares = {"kept": one.kept, "merged": one.merged, "dropped": one.dropped}
        counts = {"before": len(one.owners), "after": one.after, "ms": one.ms}
        print_json({"method": one.method, **counts, **shares, **found})
