"""What is indexed in bulk: a folder of files, or the lines of a file."""

from pathlib import Path
from typing import Protocol, Self

from tamis.server.cli.folder import Folder
from tamis.server.cli.progress import Source


class Shard(Source, Protocol):
    """Some documents of a corpus, in its order. It travels to another process as it is."""

    def part(self, begin: int, end: int) -> Self:
        """The documents from place `begin` to before place `end`."""
        ...


def corpus(path: Path, images: Path | None = None) -> Shard:
    """The documents of a folder, or of a JSONL file; see `Folder` and `Lines`.

    Args:
        path: The folder or file.
        images: The folder that a file names pictures in; None for the one that it is in.

    Raises:
        OSError: There is no such folder or file.
    """
    if not path.is_file():
        return Folder(path)
    from tamis.server.bulk.lines import Lines  # it needs more packages than a folder does

    return Lines(path, images or path.parent)
