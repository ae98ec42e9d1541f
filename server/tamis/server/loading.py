"""Opens what settings name: encoders, with their share of the cores and warm, and refiners."""

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from tamis.models import catalog
from tamis.models.contexts.artefact import Precisions
from tamis.models.contexts.key_values import PositionMode
from tamis.models.contexts.precision import Precision
from tamis.models.contexts.writer import ContextWriter
from tamis.models.encoders import Encoder, TokenEncoder
from tamis.models.errors import InputError, SettingsError
from tamis.models.refiners import KVRefiner, TextRefiner, VisualRefiner
from tamis.server.cache.contexts import ContextCache
from tamis.server.collections import Collections
from tamis.server.config import KeyValueSettings, MethodSettings, RefineSettings, ServerSettings
from tamis.server.encoders import Encoders
from tamis.server.errors import MismatchError
from tamis.server.prefilling import KeyValueRefiner
from tamis.server.refining import Refine
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


def open_refine(
    settings: RefineSettings,
    where: str,
    encoders: Encoders,
    collections: Collections,
    contexts: ContextCache,
    open_writer: Callable[[Any], ContextWriter],
    *,
    max_bytes: int,
) -> Refine:
    """The last stage of a pipeline.

    Raises:
        SettingsError: A method or an encoder is not there, or does not take these settings.
        ModelError: A model's files are missing or damaged.
    """

    def token_encoder(chosen: object) -> TokenEncoder:
        try:
            return encoders.token_encoder(str(chosen))
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from error

    def refiner(family: type[Any], chosen: MethodSettings | KeyValueSettings | None) -> Any:
        if chosen is None:
            return None
        return catalog.load(
            family,
            chosen.method,
            chosen.settings,
            where=f"{where}.{chosen.method}",
            open_as={TokenEncoder: token_encoder},
        )

    if settings.visual and settings.encoder not in encoders.names:
        raise SettingsError(f"{where}.encoder: {settings.encoder!r} is not an encoder")
    key_values = None
    if (chosen := settings.key_values) is not None:
        key_values = KeyValueRefiner(
            name=chosen.method,
            press=refiner(KVRefiner, chosen),
            writer=open_writer(chosen.model),
            precisions=Precisions(keys=Precision(chosen.keys), values=Precision(chosen.values)),
            mode=PositionMode(chosen.positions),
            contexts=contexts,
            ttl_s=settings.context_ttl_s,
        )
    return Refine(
        visual=refiner(VisualRefiner, settings.visual),
        visual_name=settings.visual.method if settings.visual else "",
        text=refiner(TextRefiner, settings.text),
        text_name=settings.text.method if settings.text else "",
        encoder=settings.encoder,
        encoders=encoders,
        collections=collections,
        depth=settings.depth,
        contexts=contexts,
        ttl_s=settings.context_ttl_s,
        max_bytes=max_bytes,
        key_values=key_values,
    )
