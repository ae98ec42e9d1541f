"""Reads a data set's folder in whichever layout it has."""

from collections.abc import Callable
from pathlib import Path

from tamis.server.evaluate import beir, m2kr, mbeir
from tamis.server.evaluate.dataset import Choice, Dataset
from tamis.server.evaluate.rows import DatasetError

Layout = tuple[str, Callable[[Path, Choice], Dataset]]
LAYOUTS: tuple[Layout, ...] = (  # what a folder of each layout has
    (beir.DOCUMENTS, beir.read),
    ("cand_pool", mbeir.read),
    ("*_passages", m2kr.read),
)


def read(folder: Path, choice: Choice) -> Dataset:
    """The data set, every line of it checked.

    Raises:
        DatasetError: The folder has no layout that is known, or a line is not what its layout
            asks for; the message names the file and the line.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    for there, reader in LAYOUTS:
        if any(folder.glob(there)):
            dataset = reader(folder, choice)
            _check(dataset, folder, choice)
            return dataset
    known = ", ".join(there for there, _ in LAYOUTS)
    raise DatasetError(f"{folder}: not a data set; it has none of {known}")


def _check(dataset: Dataset, folder: Path, choice: Choice) -> None:
    chosen = f"with split {choice.split!r}, --only {choice.only!r} and --pool {choice.pool!r}"
    for count, what in ((len(dataset.topics), "queries"), (len(dataset.pool), "documents")):
        if not count:
            raise DatasetError(f"{folder}: {dataset.layout} layout, but no {what} {chosen}")
    seen: set[tuple[str, str]] = set()
    for topic in dataset.topics:
        where = f"{folder}: query {topic.id!r} of {topic.group}"
        if topic.text is None and topic.image is None:
            raise DatasetError(f"{where}: has neither text nor image")
        if not topic.relevant and not topic.answers:
            raise DatasetError(f"{where}: nothing is relevant to it")
        if (topic.group, topic.id) in seen:
            raise DatasetError(f"{where}: is there twice")
        seen.add((topic.group, topic.id))
