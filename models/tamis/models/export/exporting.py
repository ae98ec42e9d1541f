"""Exports a checkpoint by the exporter that reads it: whole, or with a reason why not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import tamis.models.export
from tamis.models.errors import ModelError, SettingsError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import DEFAULT, Draft, Options, silent
from tamis.models.export.tensorrt import build
from tamis.models.export.writer import drafted, seal
from tamis.models.runtimes.folder import ModelFolder, Recipe


def export(
    source: str | Path,
    out: Path,
    options: Options = DEFAULT,
    *,
    to: str = "onnx",
    method: str = "",
    report: Callable[[str], None] = silent,
) -> ModelFolder[Recipe]:
    """Makes the model folder `out`, whole or not at all; one that is there already is replaced.

    Args:
        source: A folder with a published checkpoint, or a hub id.
        out: Where the served model goes.
        options: Its name, licence and precision.
        to: ``onnx`` for graphs, ``tensorrt`` for engines beside them too.
        method: The method that is to serve it; empty to tell by the checkpoint.
        report: Told what is being done, a line at a time.

    Raises:
        ModelError: The checkpoint is missing, damaged or of no known kind, its graph differs from
            its network, an engine cannot be built, or `out` is a folder of something else.
    """
    checkpoint = Checkpoint.open(source)
    exporter = exporter_of(checkpoint, method)
    with drafted(out) as folder:
        recipe = exporter.export(checkpoint, Draft(folder, options, report))
        made = seal(folder, out, replace(recipe, precision=options.precision))
    if to == "tensorrt":
        build(made, report)
    return made


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """Settings that were written as KEY=VALUE.

    Raises:
        SettingsError: One has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise SettingsError(f"{pair!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def methods() -> list[str]:
    """The methods that a checkpoint can be exported for: the files here that read one."""
    return [name for name in _files() if hasattr(_module(name), "reads")]


def exporter_of(checkpoint: Checkpoint, method: str = "") -> ModuleType:
    """The module that exports a checkpoint.

    Raises:
        ModelError: `method` is unknown, or without one: none reads the checkpoint, or several do.
    """
    if method in _files() and hasattr(_module(method), "reads"):
        return _module(method)
    known = methods()
    if method:
        raise ModelError(f"method: {method!r} is not one of: {', '.join(known)}")
    fitting = [name for name in known if _module(name).reads(checkpoint)]
    if len(fitting) == 1:
        return _module(fitting[0])
    if fitting:
        raise ModelError(
            f"{checkpoint.name}: several methods read it: choose one of: {', '.join(fitting)}"
        )
    said = {key: checkpoint.config.get(key) for key in ("model_type", "architectures")}
    raise ModelError(
        f"{checkpoint.name}: config.json says {said}, which no exporter knows; "
        f"choose one of: {', '.join(known)}"
    )


def _files() -> list[str]:
    names = [module.name for module in iter_modules(tamis.models.export.__path__)]
    return sorted(name for name in names if name != "__main__")


def _module(name: str) -> ModuleType:
    return import_module(f"tamis.models.export.{name}")
