"""What the command `tamis evaluate` is made of."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tamis.client import Client
from tamis.models.errors import InputError
from tamis.server.evaluate.asking import Search
from tamis.server.evaluate.dataset import Choice, Dataset
from tamis.server.evaluate.encoder_server import serving_encoder
from tamis.server.evaluate.reading import read
from tamis.server.evaluate.report import print_report, write_topics
from tamis.server.evaluate.running import evaluate, indexed

__all__ = ("Choice", "Search", "main", "numbers", "read", "served")


def numbers(cutoffs: str) -> tuple[int, ...]:
    """The numbers of hits that are judged, rising, from a text such as ``1,5,10``.

    Raises:
        InputError: It is not a list of numbers from 1.
    """
    parts = [part.strip() for part in cutoffs.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--cutoffs: expected numbers from 1 such as 1,5,10, got {cutoffs!r}")
    return tuple(sorted(set(map(int, parts))))


def served(encoder: Path | None, target: str, depth: int) -> AbstractContextManager[str]:
    """Where the server listens: the one at `target`, or a new one of the encoder's folder."""
    return nullcontext(target) if encoder is None else serving_encoder(encoder, depth)


def main(
    client: Client,
    dataset: Dataset,
    search: Search,
    cutoffs: tuple[int, ...],
    *,
    collection: str | None = None,
    per_query: Path | None = None,
    as_json: bool = False,
) -> None:
    """Indexes, asks, judges and prints.

    Args:
        client: Of the server that is evaluated.
        dataset: What it is asked, and in which documents.
        search: How it searches.
        cutoffs: How many hits are judged, rising.
        collection: One that is kept; None for one that is deleted in the end.
        per_query: Where single queries' measures and hits are written, as JSON lines.
        as_json: Whether the report is JSON, too.
    """
    with indexed(client, dataset, collection) as name:
        outcomes = evaluate(client, name, dataset, search, cutoffs)
    if per_query is not None:
        write_topics(per_query, outcomes)
    print_report(outcomes, as_json=as_json)
