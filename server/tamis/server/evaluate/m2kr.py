"""M2KR's layout: tables of questions and of passages, such as those of WIT.

`WIT_data/test.jsonl` has the questions, `WIT_passages/test_passages.jsonl` the passages. The
benchmark is published as Parquet under these names; a hyphen and a part's number may follow. A
question brings its own instruction, or has that of its data set. The passages of all chosen data
sets are searched together.
"""

from pathlib import Path

from tamis.models.instructions import tasks
from tamis.server.evaluate.dataset import Choice, Dataset, Entry, Pool, Topic, files
from tamis.server.evaluate.rows import DatasetError, Row, rows


def read(folder: Path, choice: Choice) -> Dataset:
    """The data set; each of the benchmark's data sets is a group of topics."""
    pool = Pool(
        _tables(folder, "*_passages", f"{choice.split}_passages", choice.pool),
        lambda row: Entry(row.text("passage_id"), row.optional("passage_content"), None, row.where),
    )
    topics = [
        _topic(row, path.parent.name.removesuffix("_data"), choice.images)
        for path in _tables(folder, "*_data", choice.split, choice.only)
        for row in rows(path)
    ]
    return Dataset("m2kr", tuple(topics), pool)


def _tables(folder: Path, kind: str, name: str, containing: str) -> list[Path]:
    found = files(folder, f"{kind}/*.jsonl", containing)
    if not found and files(folder, f"{kind}/*.parquet", containing):
        raise DatasetError(f"{folder}/{kind}: Parquet is not read; write its rows as JSONL")
    return [path for path in found if path.stem.partition("-")[0] == name]


def _topic(row: Row, group: str, images: Path) -> Topic:
    task, instruction = f"m2kr/{group.lower()}", row.optional("instruction")
    return Topic(
        id=row.text("question_id"),
        group=group,
        text=row.optional("question"),
        image=row.picture("img_path", images),
        relevant=dict.fromkeys(row.texts("pos_item_ids"), 1),
        answers=row.texts("answers"),
        task=None if instruction or task not in tasks() else task,
        instruction=instruction,
    )
