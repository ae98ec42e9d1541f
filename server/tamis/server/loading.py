"""Opens the settings' encoders, with their share of the cores, and warms them up."""

import os
from dataclasses import fields
from pathlib import Path

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.errors import InputError
from tamis.server.config import ServerSettings
from tamis.server.errors import MismatchError
from tamis.server.warm_up import warm_up


def open_encoder(settings: ServerSettings, name: str, folder: str | None = None) -> Encoder:
    """The encoder of that name in the settings, loaded and warm.

    Args:
        settings: The server's.
        name: The encoder's.
        folder: Where it is; None for where the settings say.

    Raises:
        SettingsError: Its settings are wrong.
        ModelError: Its files are missing or damaged, or it does not run.
    """
    chosen, table = settings.encoders[name], dict(settings.encoders[name].settings)
    if folder is not None:
        table["folder"] = folder
    if takes(chosen.method, "threads"):
        table.setdefault("threads", threads_each(settings))
    encoder = catalog.load(Encoder, chosen.method, table, where=f"encoders.{name}")
    warm_up(name, encoder, settings.batch, budget_s=settings.warm_up_s)
    return encoder


def below(root: str, folder: str) -> str:
    """The path of a folder below another one, wherever links lead.

    Raises:
        InputError: It is not below it.
        MismatchError: There is no such other one.
    """
    if not root:
        raise MismatchError("folder: models_folder is not set, so a caller can name none below it")
    base = Path(root).resolve()
    path = None if "\0" in folder else (base / folder).resolve()
    if path is None or base not in path.parents:
        raise InputError(f"folder: {folder[:200]!r} is not below models_folder")
    return str(path)


def threads_each(settings: ServerSettings) -> int:
    """Threads that one run of a model may use: without `threads`, its share of the cores.

    All models busy at once then have a thread a core, and the event loop and the index wait behind
    no more. In texts a second of a core it makes no difference how many threads each has, but one
    pool for all sessions, whose spinning Python cannot turn off, does a quarter less
    (`tests/bench/bench_threads.py`). A model that is mostly busy alone is faster with all cores:
    that is what the setting is for.
    """
    if settings.threads:
        return settings.threads
    models = sum(takes(chosen.method, "threads") for chosen in settings.encoders.values())
    return max(1, cores() // max(1, models * settings.workers))


def takes(method: str, setting: str) -> bool:
    """Whether an encoder's method has a setting of that name."""
    return setting in {field.name for field in fields(catalog.find(Encoder, method))}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))
