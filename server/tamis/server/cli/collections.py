"""`tamis collections`: what the server keeps."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.server.cli.connection import connected
from tamis.server.cli.options import FRAMES, LOCAL, Json, Target

if TYPE_CHECKING:
    from tamis.client import Snapshot

if TYPE_CHECKING:
    from rich.progress import TaskID

collections_app = typer.Typer(
    help="What the server keeps; without a command, a list of it.",
    rich_markup_mode=FRAMES,
    invoke_without_command=True,
)


@collections_app.callback()
def _collections(
    context: typer.Context,
    json: Json = False,
    target: Annotated[str | None, typer.Option(envvar="TAMIS_TARGET", show_envvar=False)] = None,
) -> None:
    command = context.invoked_subcommand
    if command is None:
        list_collections(json, target or LOCAL)
    elif json or (target and target != os.environ.get("TAMIS_TARGET")):
        context.fail(f"give --target and --json after {command}")


@collections_app.command("list")
def list_collections(json: Json = False, target: Target = LOCAL) -> None:
    """Every collection, and how many documents it holds."""
    from tamis.server.cli.tables import print_json, print_table

    with connected(target) as client:
        found = client.collections()
    if json:
        for one in found:
            print_json({"name": one.name, "documents": one.documents})
    else:
        rows = [
            (one.name, str(one.documents), " ".join(vector.name for vector in one.vectors))
            for one in found
        ]
        print_table(("collection", ">documents", "vectors"), rows)


@collections_app.command()
def describe(name: str, json: Json = False, target: Target = LOCAL) -> None:
    """What one collection indexes."""
    from dataclasses import asdict

    from tamis.server.cli.tables import print_json, print_table

    with connected(target) as client:
        found = client.collection(name)
    if json:
        print_json(asdict(found))
    else:
        typer.echo(f"{found.name}: {found.documents} documents")
        rows = [(v.name, str(v.kind), str(v.dim or "-"), v.fingerprint) for v in found.vectors]
        print_table(("vector", "kind", ">dim", "fingerprint"), rows)


@collections_app.command()
def optimize(
    name: str,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train centroids again even if they still fit.")
    ] = False,
    target: Target = LOCAL,
) -> None:
    """Make late interaction over a large collection fast; searches go on meanwhile."""
    from tamis.server.cli.progress import progress_bar

    done: dict[str, int] = {}
    begin = time.monotonic()
    with connected(target) as client, progress_bar() as bar:
        tasks: dict[str, TaskID] = {}
        for step in client.optimize_collection(name, retrain=retrain):
            label = f"{step.vector}: {step.step}"
            if label not in tasks:
                tasks[label] = bar.add_task(label, total=step.total, rate=0.0)
            done[step.vector] = max(done.get(step.vector, 0), step.done)
            bar.update(
                tasks[label],
                completed=step.done,
                total=step.total,
                rate=step.done / (time.monotonic() - begin),
            )
    if not done:
        typer.echo(f"{name}: small enough to be compared whole; there was nothing to do")
    for vector in done:
        typer.echo(f"{name}: optimized {vector} in {time.monotonic() - begin:.1f} s")


@collections_app.command()
def delete(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: Target = LOCAL,
) -> None:
    """Delete a collection with all that it holds."""
    with connected(target) as client:
        held = client.collection(name).documents
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Delete {name} with its {held} documents?", abort=True)
        client.drop_collection(name)
    typer.echo(f"deleted {name} ({held} documents)")


@collections_app.command()
def alias(
    name: Annotated[str, typer.Argument(help="The other name.")],
    collection: Annotated[
        str | None, typer.Argument(help="What it shall stand for; without one, for nothing more.")
    ] = None,
    target: Target = LOCAL,
) -> None:
    """Let another name stand for a collection, or switch it over, at once."""
    with connected(target) as client:
        if collection is None:
            client.delete_alias(name)
            typer.echo(f"{name} stands for nothing")
            return
        previous = client.set_alias(name, collection)
    before = f" (before: {previous})" if previous and previous != collection else ""
    typer.echo(f"{name} stands for {collection}{before}")


@collections_app.command()
def snapshot(name: str, json: Json = False, target: Target = LOCAL) -> None:
    """Write a collection to one file on the server, while it is used."""
    with connected(target) as client:
        _print_snapshots([client.create_snapshot(name)], json)


@collections_app.command()
def snapshots(name: str, json: Json = False, target: Target = LOCAL) -> None:
    """The snapshots of a collection, the newest first."""
    with connected(target) as client:
        _print_snapshots(client.snapshots(name), json)


@collections_app.command()
def restore(
    name: str,
    snapshot: Annotated[str, typer.Argument(help="One that `snapshots` lists.")],
    new: Annotated[str, typer.Argument(help="What to call the new collection.")],
    target: Target = LOCAL,
) -> None:
    """Make a new collection of a snapshot; an alias can then switch over to it."""
    with connected(target) as client:
        made = client.restore_snapshot(name, snapshot, new)
    typer.echo(f"{made.name}: {made.documents} documents")


def _print_snapshots(found: list[Snapshot], json: bool) -> None:
    from dataclasses import asdict

    from tamis.server.cli.tables import print_json, print_table

    if json:
        for one in found:
            print_json(asdict(one))
        return
    rows = [(one.name, str(one.documents), f"{one.size_bytes >> 20}", one.created) for one in found]
    print_table(("snapshot", ">documents", ">MiB", "created"), rows)
