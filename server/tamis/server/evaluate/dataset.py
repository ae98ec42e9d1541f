"""A data set: topics, and the documents in which they look for what is relevant to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tamis.client import Document, Limits
from tamis.models.types import Modality
from tamis.server.evaluate.rows import DatasetError, Row, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A query whose relevant documents are known.

    Attributes:
        id: Its own, unique in its group.
        group: The task of a benchmark that it belongs to.
        text: Words, or None.
        image: A picture's file, or None.
        relevant: How relevant each of the relevant documents is, from 1, by id.
        answers: Texts one of which answers it, for pseudo-recall.
        task: A task whose instruction it has, or None.
        instruction: An instruction of its own, or None.
    """

    id: str
    group: str
    text: str | None = None
    image: Path | None = None
    relevant: Mapping[str, int]
    answers: tuple[str, ...] = ()
    task: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A document whose picture is still a file."""

    id: str
    text: str | None
    image: Path | None
    where: str

    @property
    def modalities(self) -> frozenset[Modality]:
        """What it is made of."""
        there = {Modality.TEXT: self.text, Modality.IMAGE: self.image}
        return frozenset(modality for modality, part in there.items() if part is not None)

    def check(self) -> None:
        """Refuses an entry without content.

        Raises:
            DatasetError: It has neither text nor image.
        """
        if not self.modalities:
            raise DatasetError(f"{self.where}: document {self.id}: has neither text nor image")

    def document(self, limits: Limits) -> Document:
        """The document as it is indexed; its picture is read.

        Raises:
            DatasetError: It is larger than the server takes.
            OSError: Its picture cannot be read.
        """
        sizes = (
            (len((self.text or "").encode()), limits.max_text_bytes),
            (self.image.stat().st_size if self.image else 0, limits.max_image_bytes),
        )
        for size, most in sizes:
            if size > most:
                raise DatasetError(f"{size} bytes; the server takes at most {most}")
        return Document(self.id, self.text, self.image.read_bytes() if self.image else None)


class Pool:
    """The documents of some files, of any modality; the first of two with one id counts.

    Every line is checked when the pool is made; pictures are read when they are asked for.

    Attributes:
        ids: Of the documents.
        skipped: Those that were too large so far, and how large.
    """

    def __init__(self, files: Iterable[Path], entry: Callable[[Row], Entry]) -> None:
        self._files = tuple(files)
        self._entry = entry
        self.ids: set[str] = set()
        self.skipped: list[tuple[str, str]] = []
        for one in self._lines():
            one.check()
            self.ids.add(one.id)

    def __len__(self) -> int:
        return len(self.ids)

    def entries(self) -> Iterator[Entry]:
        """The documents, each once."""
        seen: set[str] = set()
        for one in self._lines():
            if one.id not in seen:
                seen.add(one.id)
                yield one

    def documents(self, limits: Limits) -> Iterator[Document]:
        """The documents as they are indexed, read one by one."""
        for one in self.entries():
            try:
                yield one.document(limits)
            except DatasetError as error:
                self.skipped.append((one.id, str(error)))

    def _lines(self) -> Iterator[Entry]:
        for path in self._files:
            yield from map(self._entry, rows(path))


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a folder holds.

    Attributes:
        layout: Which benchmark's layout it has.
        topics: In the order of their files.
        pool: The documents.
    """

    layout: str
    topics: tuple[Topic, ...]
    pool: Pool

    @property
    def unreachable(self) -> int:
        """Relevant documents that are not in the pool: nothing can find them."""
        wanted = {one for topic in self.topics for one in topic.relevant}
        return len(wanted - self.pool.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which part of a folder is evaluated.

    Attributes:
        split: Of the topics, such as `test`.
        only: Files of topics are those with this in their path below the folder.
        pool: The same for files of documents.
        images: The folder that pictures are named in.
    """

    split: str
    only: str
    pool: str
    images: Path


def files(folder: Path, pattern: str, containing: str) -> list[Path]:
    """The folder's files of a pattern whose path below it contains a text, sorted."""
    return sorted(
        path for path in folder.glob(pattern) if containing in path.relative_to(folder).as_posix()
    )
