"""Printing: tables for a terminal, plain columns in ASCII for everything else."""

import json
import sys
from collections.abc import Sequence
from typing import Any

GAP = "  "


def printable(text: str) -> str:
    """The text in one line, with what could steer a terminal written out: it may be anybody's."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()
        for one in line
    )


def print_json(value: Any) -> None:
    """One line, so that a reader of a pipe has it at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None
) -> None:
    """A heading that begins with `>` has its column on the right. Breaks no line of a pipe."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich(headings, rows, title)
    else:
        lines = [title] if title else []
        sys.stdout.write("\n".join([*lines, *_columns(headings, rows)]) + "\n")
        sys.stdout.flush()


def _rich(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # Captions are anybody's: `[bold]` in one of them is not for us to obey.
    console = Console(markup=False, highlight=False, emoji=False)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for heading in headings:
        right = heading.startswith(">")
        table.add_column(heading.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    right = [heading.startswith(">") for heading in headings]
    cells = [[heading.lstrip(">") for heading in headings]]
    cells += [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        GAP.join(
            cell.rjust(width) if on_right else cell.ljust(width)
            for cell, width, on_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
