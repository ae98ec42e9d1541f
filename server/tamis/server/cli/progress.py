"""Indexing, and what a person sees of it."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tamis.client import Client
from tamis.server.cli.folder import Folder
from tamis.server.cli.tables import printable


def index_folder(client: Client, folder: Folder, collection: str, batch: int) -> int:
    """Puts the folder's documents into the collection; says on stderr what went wrong.

    Returns:
        How many went in.
    """
    limits = client.info().limits
    failures: list[tuple[str, str]] = []
    begin = time.monotonic()
    stream = client.upsert(
        collection, folder.documents(limits), min(batch, limits.max_batch_inputs or batch)
    )
    with stream as steps, _bar() as bar:
        task = bar.add_task("indexing", total=len(folder.paths), rate=0.0)
        for step in steps:
            failures += [(one.document_id, one.failure.message) for one in step.failures]
            bar.update(
                task,
                completed=step.upserted + step.failed + len(folder.skipped),
                rate=step.upserted / (time.monotonic() - begin),
            )
    seconds = time.monotonic() - begin
    upserted, failures = stream.total.upserted, folder.skipped + failures
    sys.stdout.write(
        f"indexed {upserted} documents in {seconds:.1f} s ({upserted / seconds:.0f}/s) "
        f"into {collection}" + (f", {len(failures)} failed\n" if failures else "\n")
    )
    for name, reason in failures:
        sys.stderr.write(f"  {printable(name)}: {printable(reason)}\n")
    return upserted


def _bar() -> Progress:
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
