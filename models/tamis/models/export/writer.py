"""Puts a model folder in its place: whole, or not at all. Knows nothing of torch."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tamis.models.errors import ModelError
from tamis.models.runtimes.folder import NAME, ModelFolder, Recipe, file_sha256, text

R = TypeVar("R", bound=Recipe)


@contextmanager
def drafted(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` to write a model into; gone after the block unless sealed.

    Raises:
        ModelError: `out` is a folder of something else.
    """
    if out.exists() and not (out / NAME).exists() and not (out.is_dir() and _empty(out)):
        raise ModelError(f"{out}: is not a model folder; it is left as it is")
    # Beside `out`, so that they are on one file system.
    draft = out.with_name(f".{out.name}.new.{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def seal(draft: Path, out: Path, recipe: R) -> ModelFolder[R]:
    """Writes the draft's `model.toml` and renames the draft to `out`.

    What was at `out` is replaced; a folder that is the same already is left as it is.

    Args:
        draft: As `drafted` gave it, with every file of the model but `model.toml`.
        out: Where the served model goes.
        recipe: What the model is; its `files` are filled in here.

    Raises:
        ModelError: What was written cannot be opened again.
    """
    files = {path.name: file_sha256(path) for path in sorted(draft.iterdir())}
    whole = replace(recipe, files=files)
    (draft / NAME).write_text(text(whole), encoding="utf-8")
    if not _same(out, draft):
        old = out.with_name(f".{out.name}.old.{os.getpid()}")
        if out.exists():
            out.rename(old)
        draft.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    return ModelFolder.open(out, type(recipe), recipe.method)


def _same(out: Path, draft: Path) -> bool:
    """Whether `out` holds the draft's files, byte for byte."""
    names = [path.name for path in draft.iterdir()]
    return all((out / name).is_file() for name in names) and all(
        file_sha256(out / name) == file_sha256(draft / name) for name in names
    )


def _empty(folder: Path) -> bool:
    return not any(folder.iterdir())
