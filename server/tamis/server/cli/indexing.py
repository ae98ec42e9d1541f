"""`tamis index`: a folder or a file of documents into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.server.cli import leave, missing
from tamis.server.cli.connection import connected
from tamis.server.cli.options import LOCAL, Name, Target


def index(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of pictures, .txt and .md texts; or a .jsonl file as BEIR or M-BEIR "
            "lay it out."
        ),
    ],
    collection: Name,
    target: Target = LOCAL,
    batch: Annotated[int, typer.Option(min=1, help="Documents in one message.")] = 32,
    images: Annotated[
        Path | None, typer.Option(help="Where the pictures are that a file names; or beside it.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Workers that read and send.")] = 1,
    encode_with: Annotated[
        Path | None,
        typer.Option(help="The server's settings: let the workers encode, not the server."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Run the workers on the Ray cluster of this address; auto finds it."),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh/--resume", help="Send all again, not what an earlier run left."),
    ] = False,
    ledger: Annotated[
        Path | None,
        typer.Option(
            envvar="TAMIS_LEDGER",
            help="Where it says what is done; else artifacts/index/COLLECTION.ledger.",
        ),
    ] = None,
    shard: Annotated[
        int, typer.Option(min=1, help="Documents that a worker takes at a time.")
    ] = 128,
) -> None:
    """Put a folder or a file into a collection. Run again, it goes on where it was interrupted.

    The first line of `foo.txt` is the caption of `foo.png`. A document counts as done when the
    server has it on disk. Exit status 1 says that some could not be indexed; they are listed.
    """
    from tamis.server.bulk.corpus import corpus

    try:
        found = corpus(source, images)
    except ModuleNotFoundError as error:
        missing(error, "tamis index of a file", "server")
    if not len(found):
        what = "documents in this file" if source.is_file() else "pictures or texts in this folder"
        leave(f"{source}: no {what}", 1)
    from tamis.server.bulk.command import Plan
    from tamis.server.bulk.command import index as run

    plan = Plan(
        batch=batch,
        shard=shard,
        processes=processes,
        settings=encode_with,
        ray=ray,
        ledger=ledger,
        fresh=fresh,
    )
    with connected(target) as client:
        try:
            meter = run(client, found, collection, plan)
        except ModuleNotFoundError as error:
            missing(error, "tamis index --ray", "ray")
    if meter.failures:
        raise typer.Exit(1)
