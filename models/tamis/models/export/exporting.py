"""Exports a checkpoint by the exporter that reads it: whole, or with a reason why not."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import tamis.models.export
from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import DEFAULT, Draft, Options, silent
from tamis.models.export.writer import drafted, seal
from tamis.models.rerankers import Reranker
from tamis.models.runtimes.folder import ModelFolder, Recipe


def export(
    source: str | Path,
    out: Path,
    options: Options = DEFAULT,
    *,
    method: str = "",
    report: Callable[[str], None] = silent,
) -> ModelFolder[Recipe]:
    """Makes the model folder `out`, whole or not at all; one that is there already is replaced.

    Args:
        source: A folder with a published checkpoint, or a hub id.
        out: Where the served model goes.
        options: Its name, licence and precision.
        method: The method that is to serve it; empty to tell by the checkpoint.
        report: Told what is being done, a line at a time.

    Raises:
        ModelError: The checkpoint is missing, damaged or of no known kind, its graph differs from
            its network, or `out` is a folder of something else.
    """
    checkpoint = Checkpoint.open(source)
    exporter = exporter_of(checkpoint, method)
    with drafted(out) as folder:
        recipe = exporter.export(checkpoint, Draft(folder, options, report))
        return seal(folder, out, replace(recipe, precision=options.precision))


def methods() -> list[str]:
    """The methods that a checkpoint can be exported for."""
    served = {*catalog.names(Encoder), *catalog.names(Reranker)}
    files = {module.name for module in iter_modules(tamis.models.export.__path__)}
    return sorted(served & files)


def exporter_of(checkpoint: Checkpoint, method: str = "") -> ModuleType:
    """The module that exports a checkpoint.

    Raises:
        ModelError: `method` is unknown, or without one: none reads the checkpoint, or several do.
    """
    known = methods()
    if method:
        if method not in known:
            raise ModelError(f"method: {method!r} is not one of: {', '.join(known)}")
        return import_module(f"tamis.models.export.{method}")
    modules = [import_module(f"tamis.models.export.{name}") for name in known]
    fitting = [
        module for module in modules if hasattr(module, "reads") and module.reads(checkpoint)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(module.__name__.rpartition(".")[2] for module in fitting)
        raise ModelError(f"{checkpoint.name}: several methods read it: choose one of: {names}")
    said = {key: checkpoint.config.get(key) for key in ("model_type", "architectures")}
    raise ModelError(
        f"{checkpoint.name}: config.json says {said}, which no exporter knows; "
        f"choose one of: {', '.join(known)}"
    )
