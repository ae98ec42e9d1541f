"""Options that several commands take."""

import sys
from typing import Annotated, Literal

import typer

LOCAL = "localhost:50051"
# Frames around the help are for people; a pipe gets plain ASCII.
FRAMES: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None

Target = Annotated[
    str, typer.Option("--target", envvar="TAMIS_TARGET", help="The server, as HOST:PORT.")
]
Name = Annotated[str, typer.Option("--collection", "-c", help="The collection's name.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
