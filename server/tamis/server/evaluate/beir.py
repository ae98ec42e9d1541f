"""BEIR's layout: `corpus.jsonl`, `queries.jsonl`, and `qrels/test.tsv` with a heading.

A document's title stands before its text. Besides what BEIR has, a line may name a picture as
`image`, so that a collection of any modality can be written down in this layout.
"""

from collections.abc import Iterator
from pathlib import Path

from tamis.server.evaluate.dataset import Choice, Dataset, Entry, Pool, Topic, files
from tamis.server.evaluate.rows import DatasetError, Row, lines, rows

DOCUMENTS, QUERIES = "corpus.jsonl", "queries.jsonl"
COLUMNS = 3  # query, document, relevance


def read(folder: Path, choice: Choice) -> Dataset:
    """The data set; its topics are the queries that have relevant documents."""
    qrels = folder / "qrels" / f"{choice.split}.tsv"
    if not qrels.is_file():
        known = ", ".join(path.stem for path in files(folder, "qrels/*.tsv", ""))
        raise DatasetError(f"{qrels}: no such file; splits that are there: {known or 'none'}")
    pool = Pool([folder / DOCUMENTS], lambda row: entry(row, choice.images))
    queries = {row.text("_id"): row for row in rows(folder / QUERIES)}
    relevant: dict[str, dict[str, int]] = {}
    for where, query, document, relevance in _judgements(qrels):
        if query not in queries:
            raise DatasetError(f"{where}: query {query!r} is not in {QUERIES}")
        if relevance > 0:
            relevant.setdefault(query, {})[document] = relevance
    topics = [
        Topic(
            id=name,
            group=folder.resolve().name,
            text=row.optional("text"),
            image=row.picture("image", choice.images),
            relevant=relevant[name],
        )
        for name, row in queries.items()
        if name in relevant
    ]
    return Dataset("beir", tuple(topics), pool)


def entry(row: Row, images: Path) -> Entry:
    """The document of one line; `images` is the folder that pictures are named in."""
    parts = (row.optional("title"), row.optional("text"))
    text = " ".join(part for part in parts if part) or None
    return Entry(row.text("_id"), text, row.picture("image", images), row.where)


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    for number, (where, line) in enumerate(lines(path)):
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) != COLUMNS:
            raise DatasetError(f"{where}: expected {COLUMNS} columns, got {len(fields)}")
        query, document, relevance = fields
        try:
            yield where, query, document, int(relevance)
        except ValueError as error:
            if number:  # the first line may be a heading
                raise DatasetError(
                    f"{where}: relevance: expected a whole number, got {relevance!r:.80}"
                ) from error
