"""Indexing, and what a person sees of it and of other long work."""

import sys
import time
from collections.abc import Iterator
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tamis.client import Client, Document, Limits
from tamis.server.cli.tables import printable


class Source(Protocol):
    """Documents to index, of which `skipped` could not be read so far, and why."""

    skipped: list[tuple[str, str]]

    def __len__(self) -> int: ...

    def documents(self, limits: Limits) -> Iterator[Document]: ...


def index(
    client: Client, source: Source, collection: str, batch: int, out: TextIO | None = None
) -> int:
    """Puts the documents into the collection; says on stderr what went wrong.

    Args:
        client: Of the server that has the collection, or makes it.
        source: The documents.
        collection: Its name.
        batch: Documents in one message, where the server takes that many.
        out: Where the sum is written; None for stdout.

    Returns:
        How many went in.
    """
    limits = client.info().limits
    failures: list[tuple[str, str]] = []
    begin = time.monotonic()
    stream = client.upsert(
        collection, source.documents(limits), min(batch, limits.max_batch_inputs or batch)
    )
    with stream as steps, progress_bar() as bar:
        task = bar.add_task("indexing", total=len(source), rate=0.0)
        for step in steps:
            failures += [(one.document_id, one.failure.message) for one in step.failures]
            bar.update(
                task,
                completed=step.upserted + step.failed + len(source.skipped),
                rate=step.upserted / (time.monotonic() - begin),
            )
    seconds = time.monotonic() - begin
    upserted, failures = stream.total.upserted, source.skipped + failures
    (out or sys.stdout).write(
        f"indexed {upserted} documents in {seconds:.1f} s ({upserted / seconds:.0f}/s) "
        f"into {collection}" + (f", {len(failures)} failed\n" if failures else "\n")
    )
    for name, reason in failures:
        sys.stderr.write(f"  {printable(name)}: {printable(reason)}\n")
    return upserted


def progress_bar() -> Progress:
    """A bar on stderr of what is done, of how much, and how fast: its tasks have a `rate`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
