"""A corpus that is one file, a document a line."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tamis.client import Document, Limits
from tamis.models.errors import TamisError
from tamis.server.evaluate import beir, mbeir
from tamis.server.evaluate.rows import decoded, row


class Lines:
    """A JSONL file of documents, as BEIR (`_id`, `title`, `text`) or M-BEIR (`did`, `txt`) has it.

    A line may name a picture: `image` in BEIR's layout, `img_path` in M-BEIR's. Of two lines with
    one id, either may be kept. A line that cannot be read fails alone.

    Args:
        path: The file; it is read once now, for where its lines begin.
        images: The folder that pictures are named in.

    Attributes:
        skipped: Lines that could not be read so far, and why.
    """

    def __init__(self, path: Path, images: Path) -> None:
        self._path = path
        self._images = images
        self._numbers, self._begins = array("L"), array("Q")
        self.skipped: list[tuple[str, str]] = []
        begin = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._numbers.append(number)
                    self._begins.append(begin)
                begin += len(line)

    def __len__(self) -> int:
        return len(self._begins)

    def part(self, begin: int, end: int) -> Self:
        made = object.__new__(type(self))
        made._path, made._images, made.skipped = self._path, self._images, []
        made._numbers, made._begins = self._numbers[begin:end], self._begins[begin:end]
        return made

    def documents(self, limits: Limits) -> Iterator[Document]:
        """The documents, read one by one; lines that cannot be read go to `skipped`."""
        with self._path.open("rb") as file:
            for number, begin in zip(self._numbers, self._begins, strict=True):
                file.seek(begin)
                where = f"{self._path}:{number}"
                try:
                    line = decoded(where, file.readline(), first=begin == 0)
                    yield self._document(where, line, limits)
                except (TamisError, OSError) as error:
                    self.skipped.append((where, str(error).removeprefix(f"{where}: ")))

    def _document(self, where: str, line: str, limits: Limits) -> Document:
        found = row(where, line)
        read = mbeir.entry if "did" in found.table else beir.entry
        entry = read(found, self._images)
        entry.check()
        return entry.document(limits)
