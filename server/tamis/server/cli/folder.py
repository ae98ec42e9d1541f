"""A folder of pictures and texts, as documents."""

import os
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Self

from tamis.client import Document, Limits

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TEXTS = frozenset({".txt", ".md"})
# A drawing cannot be indexed, but the text beside it is still its caption and no document.
CAPTIONED = PICTURES | {".svg"}


class Folder:
    """What can be indexed in a folder and those below it; hidden ones are passed over.

    The first line of `foo.txt` is the caption of `foo.png` beside it (Tux Paint's layout).

    Attributes:
        paths: The pictures and texts, sorted.
        skipped: Those that could not be read so far, and why.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotADirectoryError(f"{root}: no such folder")
        self._root = root
        self.skipped: list[tuple[str, str]] = []
        files = sorted(_files(root))
        captioned = {path.with_suffix("") for path in files if path.suffix.lower() in CAPTIONED}
        self._captions = {
            path.with_suffix(""): path
            for path in files
            if path.suffix.lower() == ".txt" and path.with_suffix("") in captioned
        }
        captions = set(self._captions.values())
        self.paths = [
            path
            for path in files
            if path.suffix.lower() in PICTURES | TEXTS and path not in captions
        ]

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, begin: int, end: int) -> Self:
        """The documents from place `begin` to before place `end`."""
        made = copy(self)
        made.paths, made.skipped = self.paths[begin:end], []
        stems = {path.with_suffix("") for path in made.paths}
        made._captions = {stem: self._captions[stem] for stem in stems & self._captions.keys()}
        return made

    def documents(self, limits: Limits) -> Iterator[Document]:
        """The documents, read one by one; those that cannot be read go to `skipped`.

        Args:
            limits: What the server takes: what is larger is not even read.
        """
        for path in self.paths:
            name = path.relative_to(self._root).as_posix()
            try:
                yield self._document(path, name, limits)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                shown = name.encode(errors="backslashreplace").decode()
                self.skipped.append((shown, reason or str(error)))

    def _document(self, path: Path, name: str, limits: Limits) -> Document:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError("its name is not UTF-8") from error
        parent = path.relative_to(self._root).parent.as_posix()
        metadata = {"path": name, "folder": "" if parent == "." else parent}
        picture = path.suffix.lower() in PICTURES
        limit = limits.max_image_bytes if picture else limits.max_text_bytes
        size = path.stat().st_size
        if size > limit:
            raise ValueError(f"{size} bytes; the server takes at most {limit}")
        if size == 0:
            raise ValueError("it is empty")
        if picture:
            return Document(name, self._caption(path), path.read_bytes(), metadata)
        return Document(name, _text(path.read_bytes()), metadata=metadata)

    def _caption(self, picture: Path) -> str | None:
        path = self._captions.get(picture.with_suffix(""))
        if path is None:
            return None
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            return lines.readline().strip() or None


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not a UTF-8 text") from error
