"""The commands. What one of them needs is imported when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.server.cli import leave, missing
from tamis.server.cli.collections import collections_app
from tamis.server.cli.connection import connected
from tamis.server.cli.indexing import index
from tamis.server.cli.options import FRAMES, LOCAL, Json, Name, Target

app = typer.Typer(
    name="tamis",
    rich_markup_mode=FRAMES,
    help="A streaming server for multimodal retrieval: retrieve, rerank, refine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(collections_app, name="collections")


@app.callback(invoke_without_command=True)
def _tamis(
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"tamis {installed('tamis')}")
        raise typer.Exit


@app.command()
def serve(
    settings: Annotated[
        Path | None, typer.Argument(help="A TOML file; without one, what deploy/tamis.toml says.")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="Where to listen, as HOST:PORT.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where documents are kept.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the port and the index.")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; searches in flight may finish.

    With several workers, SIGHUP replaces them one after another, with the settings read again.
    """
    # gRPC reads it when it is imported; else one child in a hundred crashes before its exec.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        from tamis.server.serve import main
    except ModuleNotFoundError as error:
        missing(error, "tamis serve", "server")
    main(settings, listen, data, workers)


@app.command()
def demo(
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of your own pictures; without one, stamps.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the index and the drawn answers go.")] = Path(
        "artifacts/demo"
    ),
) -> None:
    """Index real pictures, serve them, and search them three ways."""
    try:
        from tamis.server.demo import main
    except ModuleNotFoundError as error:
        missing(error, "tamis demo", "demo")
    main(pictures, out)


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="A folder with a published checkpoint, or a hub id.")
    ],
    out: Annotated[Path, typer.Option(help="Where the model folder goes.")],
    to: Annotated[
        Literal["onnx", "tensorrt"], typer.Option(help="Graphs, or engines beside them too.")
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "int8-static"], typer.Option(help="Of the arithmetic.")
    ] = "fp32",
    method: Annotated[
        str, typer.Option(help="What serves it; without one, the checkpoint tells.")
    ] = "",
    name: Annotated[str, typer.Option(help="What to call the model and its space.")] = "",
    licence: Annotated[
        str, typer.Option(help="Of the weights, as an SPDX identifier.")
    ] = "unknown",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, as the method's exporter takes it."),
    ] = None,
) -> None:
    """Write a model folder that the server serves, checked against the published network."""
    try:
        from tamis.server.cli.exporting import export_model
    except ModuleNotFoundError as error:
        missing(error, "tamis export", "export")
    export_model(
        model,
        out,
        to=to,
        precision=precision,
        method=method,
        name=name,
        licence=licence,
        settings=settings or (),
    )


@app.command()
def refine(
    picture: Annotated[Path, typer.Argument(help="A picture's file.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", help="A visual refiner, again for more; or all, as without."
        ),
    ] = None,
    keep: Annotated[int, typer.Option(help="Visual tokens that may be left.")] = 36,
    show: Annotated[
        Path | None, typer.Option(help="Draw kept, merged and dropped tokens into this file.")
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="A model folder whose encoder gives visual tokens.")
    ] = "tamis_mini",
    query: Annotated[
        str | None, typer.Option(help="Words: tell how much is left of what is most like them.")
    ] = None,
    query_encoder: Annotated[
        str, typer.Option(help="What reads the query, in the encoder's space.")
    ] = "artifacts/minilm",
    json: Json = False,
) -> None:
    """Refine one picture's visual tokens, without a server, and show what is left."""
    try:
        from tamis.server.cli.refining import Arguments, refine_picture
    except ModuleNotFoundError as error:
        missing(error, "tamis refine", "server")
    arguments = Arguments(
        methods=method or ("all",),
        keep=keep,
        encoder=encoder,
        query=query,
        query_encoder=query_encoder,
        show=show,
        json=json,
    )
    refine_picture(picture, arguments)


app.command()(index)


@app.command()
def search(
    collection: Name,
    text: Annotated[str | None, typer.Argument(help="What to search for, in words.")] = None,
    image: Annotated[
        Path | None, typer.Option("--image", "-i", help="A picture to search with.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What kind of answer is wanted, in words.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="One with a known instruction, as mbeir/cirr_task7.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another wording; what each finds is fused. Again for more."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits of each stage.")] = 10,
    pipeline: Annotated[str | None, typer.Option(help="One of the server's.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="As in 'author=Bo' or 'year>=1990'; all must hold."),
    ] = None,
    modalities: Annotated[
        list[str] | None,
        typer.Option(
            "--modality",
            help="Only documents made of text, image, image_text or video. Again for more.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the search may take.")] = 10.0,
    json: Json = False,
    target: Target = LOCAL,
) -> None:
    """Search, and print each stage the moment it is there."""
    from tamis.server.cli.answers import JsonAnswers, TableAnswers
    from tamis.server.cli.conditions import parse

    if text is None and image is None:
        leave("give a text, or --image, or both", 1)
    answers = JsonAnswers() if json else TableAnswers()
    with connected(target) as client:
        stream = client.search(
            text=text,
            image=image,
            instruction=instruction,
            task=task,
            collection=collection,
            k=k,
            pipeline=pipeline,
            filter=parse(filters) if filters else None,
            also=also or (),
            modalities=modalities or (),
            timeout=timeout,
        )
        with stream as events:
            for event in events:
                answers.show(event)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A data set as BEIR, M-BEIR or M2KR lay it out.")],
    target: Target = LOCAL,
    encoder_folder: Annotated[
        Path | None, typer.Option(help="Serve this exported encoder alone, and evaluate that.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="One of the server's.")] = None,
    stage: Annotated[
        Literal["retrieve", "rerank"], typer.Option(help="The last stage that runs.")
    ] = "rerank",
    cutoffs: Annotated[
        str, typer.Option("--cutoffs", "-k", help="How many hits are judged.")
    ] = "1,5,10",
    split: Annotated[str, typer.Option(help="Of the queries.")] = "test",
    only: Annotated[str, typer.Option(help="Files of queries with this in their path.")] = "",
    pool: Annotated[str, typer.Option(help="Files of documents with this in their path.")] = "",
    images: Annotated[
        Path | None, typer.Option(help="Where the named pictures are; by default, the folder.")
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="Every query's, in words.")] = None,
    task: Annotated[str | None, typer.Option(help="Every query's, as mbeir/cirr_task7.")] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Keep the documents in this one.")
    ] = None,
    per_query: Annotated[Path | None, typer.Option(help="A JSONL file for single queries.")] = None,
    json: Json = False,
) -> None:
    """Measure how well a server finds what a data set says is relevant."""
    try:
        from tamis.server.evaluate import command
    except ModuleNotFoundError as error:
        missing(error, "tamis evaluate", "evaluate")
    wanted = command.numbers(cutoffs)
    search = command.Search(pipeline=pipeline, stage=stage, task=task, instruction=instruction)
    choice = command.Choice(split=split, only=only, pool=pool, images=images or folder)
    dataset = command.read(folder, choice)
    with command.served(encoder_folder, target, max(wanted)) as at, connected(at) as client:
        command.main(
            client,
            dataset,
            search,
            wanted,
            collection=collection,
            per_query=per_query,
            as_json=json,
        )


@app.command()
def info(json: Json = False, target: Target = LOCAL) -> None:
    """What the server is and takes."""
    from dataclasses import asdict

    from tamis.server.cli.tables import print_json, print_table

    with connected(target) as client:
        found, ready = client.info(), client.ready()
    if json:
        print_json({"target": target, "ready": ready, **asdict(found)})
    else:
        typer.echo(f"tamis {found.version} on {target}, {'ready' if ready else 'not ready'}")
        typer.echo(f"pipelines: {', '.join(found.pipelines)}")
        limits = [(name, f"{value:,}") for name, value in asdict(found.limits).items()]
        print_table(("limit", ">at most"), limits)
