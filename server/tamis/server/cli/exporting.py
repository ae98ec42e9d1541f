"""Exporting a model, and what a person sees of it."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tamis.models.export.draft import Options
from tamis.models.export.exporting import export, settings_of
from tamis.models.export.precision import SPELLED


def export_model(
    model: str,
    out: Path,
    *,
    to: str,
    precision: str,
    method: str,
    name: str,
    licence: str,
    settings: Sequence[str],
) -> None:
    """Exports a model; the step under way and its time are on stderr, what was found on stdout."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    options = Options(
        name=name, licence=licence, precision=SPELLED[precision], settings=settings_of(settings)
    )
    with _steps() as steps:
        task = steps.add_task("reading the checkpoint", total=None)

        def report(line: str) -> None:
            steps.update(task, description=line)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

        made = export(model, out, options, to=to, method=method, report=report)
    recipe = made.recipe
    sys.stdout.write(
        f"{made.path}: {recipe.name}, method {recipe.method}, {recipe.precision}, "
        f"{_megabytes(made.path):.1f} MB, fingerprint {made.fingerprint}\n"
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def _steps() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
