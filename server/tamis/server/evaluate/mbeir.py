"""M-BEIR's layout: `query/**/*.jsonl`, `cand_pool/**/*.jsonl`, and pictures that they name.

Ids are `dataset:number`. As UniIR evaluates, only positives of the query's own data set count.
All chosen files of the pool are searched together, whatever their documents are made of.
"""

from collections.abc import Iterator
from pathlib import Path

from tamis.models.instructions import task_of
from tamis.models.types import Modality
from tamis.server.evaluate.dataset import Choice, Dataset, Entry, Pool, Topic, files
from tamis.server.evaluate.rows import DatasetError, Row, rows

SPLITS = frozenset({"train", "val", "test"})

Modalities = frozenset[Modality]


def read(folder: Path, choice: Choice) -> Dataset:
    """The data set; a file of queries is a group of topics."""
    pool = Pool(
        files(folder, "cand_pool/**/*.jsonl", choice.pool),
        lambda row: Entry(
            row.text("did"), row.optional("txt"), row.picture("img_path", choice.images), row.where
        ),
    )
    queries = [
        path
        for path in files(folder, "query/**/*.jsonl", choice.only)
        if _split(path) in {None, choice.split}
    ]
    positives = {path: list(_positives(path)) for path in queries}
    wanted = {found[0] for pairs in positives.values() for _, found in pairs}
    sought = {one.id: one.modalities for one in pool.entries() if one.id in wanted}
    topics = [
        _topic(row, path.stem, found, sought.get(found[0], frozenset()), choice.images)
        for path, pairs in positives.items()
        for row, found in pairs
    ]
    return Dataset("mbeir", tuple(topics), pool)


def _split(path: Path) -> str | None:
    """The split that a file of queries is of; None where its path does not say."""
    said = (path.parent.name, path.stem.rpartition("_")[2])
    return next((name for name in said if name in SPLITS), None)


def _positives(path: Path) -> Iterator[tuple[Row, list[str]]]:
    for row in rows(path):
        of = row.text("qid").partition(":")[0]
        found = [one for one in row.texts("pos_cand_list") if one.partition(":")[0] == of]
        if not found:
            raise DatasetError(f"{row.where}: pos_cand_list: none of data set {of!r}")
        yield row, found


def _topic(row: Row, group: str, positives: list[str], sought: Modalities, images: Path) -> Topic:
    name = row.text("qid")
    text, image = row.optional("query_txt"), row.picture("query_img_path", images)
    asked = Entry(name, text, image, row.where).modalities
    of = name.partition(":")[0]
    task = task_of(int(of), asked, sought) if of.isdecimal() else None
    return Topic(
        id=name,
        group=group,
        text=text,
        image=image,
        relevant=dict.fromkeys(positives, 1),
        task=task.name if task else None,
    )
