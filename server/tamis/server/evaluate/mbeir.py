"""M-BEIR's layout: `query/**/*.jsonl`, `cand_pool/**/*.jsonl`, and pictures that they name.

All chosen files of the pool are searched together, whatever their documents are made of. All of a
query's positives count, and those of its own data set tell its task, as in UniIR's evaluation: ids
are `dataset:number`.
"""

from pathlib import Path

from tamis.models.instructions import task_of
from tamis.models.types import Modality
from tamis.server.evaluate.dataset import Choice, Dataset, Entry, Pool, Topic, files
from tamis.server.evaluate.rows import DatasetError, Row, rows

SPLITS = frozenset({"train", "val", "test"})


def read(folder: Path, choice: Choice) -> Dataset:
    """The data set; a file of queries is a group of topics."""
    pool = Pool(
        files(folder, "cand_pool/**/*.jsonl", choice.pool),
        lambda row: entry(row, choice.images),
    )
    queries = [
        (path.stem, row)
        for path in files(folder, "query/**/*.jsonl", choice.only)
        if _split(path) in {None, choice.split}
        for row in rows(path)
    ]
    own = {one for _, row in queries for one in _own(row)}
    made_of = {one.id: one.modalities for one in pool.entries() if one.id in own}
    topics = [_topic(row, group, made_of, choice.images) for group, row in queries]
    return Dataset("mbeir", tuple(topics), pool)


def entry(row: Row, images: Path) -> Entry:
    """The document of one line; `images` is the folder that pictures are named in."""
    return Entry(row.text("did"), row.optional("txt"), row.picture("img_path", images), row.where)


def _split(path: Path) -> str | None:
    """The split that a file of queries is of; None where its path does not say."""
    said = (path.parent.name, path.stem.rpartition("_")[2])
    return next((name for name in said if name in SPLITS), None)


def _own(row: Row) -> list[str]:
    """The positives that are of the query's own data set."""
    of, _, _ = row.text("qid").partition(":")
    return [one for one in row.texts("pos_cand_list") if one.partition(":")[0] == of]


def _topic(row: Row, group: str, made_of: dict[str, frozenset[Modality]], images: Path) -> Topic:
    name, positives = row.text("qid"), row.texts("pos_cand_list")
    if not positives:
        raise DatasetError(f"{row.where}: pos_cand_list: missing or empty")
    text, image = row.optional("query_txt"), row.picture("query_img_path", images)
    of, asked = name.partition(":")[0], Entry(name, text, image, row.where).modalities
    sought = next((made_of[one] for one in _own(row) if one in made_of), None)
    task = task_of(int(of), asked, sought) if of.isdecimal() and sought else None
    return Topic(
        id=name,
        group=group,
        text=text,
        image=image,
        relevant=dict.fromkeys(positives, 1),
        task=task.name if task else None,
    )
