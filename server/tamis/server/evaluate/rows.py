"""The lines of a JSONL file, checked where they are read: an error names the file and the line."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.models.errors import TamisError


class DatasetError(TamisError):
    """A folder is not a data set, or one of its lines is not what its layout asks for."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        where: Its file and number, for error messages.
        table: What it says.
    """

    where: str
    table: Mapping[str, Any]

    def text(self, key: str) -> str:
        """The text under `key`, which must be there."""
        found = self.optional(key)
        if found is None:
            raise DatasetError(f"{self.where}: {key}: missing or empty")
        return found

    def optional(self, key: str) -> str | None:
        """The text under `key`; None where it is not there, null or blank."""
        found = self.table.get(key)
        return None if found is None else self._text(key, found)

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in the list under `key`, without blanks; none where it is null or not there."""
        found = self.table.get(key)
        if found is None:
            return ()
        if not isinstance(found, list):
            raise DatasetError(f"{self.where}: {key}: expected a list of texts, got {found!r:.80}")
        return tuple(text for one in found if (text := self._text(key, one)) is not None)

    def picture(self, key: str, folder: Path) -> Path | None:
        """The file that `key` names below `folder`; None where it names none."""
        name = self.optional(key)
        if name is None:
            return None
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise DatasetError(f"{self.where}: {key}: {name!r:.80} is not a path below {folder}")
        path = folder / name
        if not path.is_file():
            raise DatasetError(f"{self.where}: {key}: {path}: no such file")
        return path

    def _text(self, key: str, found: object) -> str | None:
        if not isinstance(found, str):
            raise DatasetError(f"{self.where}: {key}: expected a text, got {found!r:.80}")
        try:
            found.encode()
        except UnicodeEncodeError as error:  # half of a character, as JSON can spell it
            raise DatasetError(f"{self.where}: {key}: {error}") from error
        return found if found.strip() else None


def rows(path: Path) -> Iterator[Row]:
    """The file's lines; blank ones are passed over.

    Raises:
        DatasetError: A line is not a JSON object in UTF-8.
    """
    for where, line in lines(path):
        yield row(where, line)


def row(where: str, line: str) -> Row:
    """One line of a file.

    Raises:
        DatasetError: It is not a JSON object.
    """
    try:
        table = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not JSON: {error}") from error
    if not isinstance(table, dict):
        raise DatasetError(f"{where}: expected a JSON object, got {line[:80].strip()!r}")
    return Row(where, table)


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The file's lines, each after its place; blank ones are passed over.

    Raises:
        DatasetError: A line is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            text = decoded(where, line, first=number == 1)
            if text.strip():
                yield where, text


def decoded(where: str, line: bytes, *, first: bool) -> str:
    """A line as text; before the first one of a file, a byte order mark may stand.

    Raises:
        DatasetError: It is not UTF-8.
    """
    try:
        return line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8: {error}") from error
