"""The models in service: what there is, and how one is loaded, switched to and unloaded."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from tamis.models.encoders import Encoder
from tamis.models.errors import InputError, TamisError
from tamis.models.method import Method
from tamis.models.types import Head
from tamis.server.collections import Collections
from tamis.server.config import ServerSettings
from tamis.server.encoders import CurrentTokens, Encoders
from tamis.server.errors import MismatchError, NotFoundError
from tamis.server.loading import below, open_encoder, takes
from tamis.server.pipeline import Pipeline
from tamis.server.refining import Refine
from tamis.server.retrieving import Retrieve
from tamis.server.stages import Rerank

logger = logging.getLogger(__name__)

NAMED = 3  # collections that a refusal names


class State(StrEnum):
    """Whether a version of a model answers."""

    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One version of a model.

    Attributes:
        name: In the settings; of a pipeline's part as in ``default.rerank``.
        family: ``encoder``, ``reranker`` or ``refiner``.
        method: As its file is named.
        version: Counts the loads of the name, from 1.
        state: Whether it answers.
        reason: Why it does not.
        encoder: The encoder that it is, while it answers.
    """

    name: str
    family: str
    method: str
    version: int = 1
    state: State = State.READY
    reason: str = ""
    encoder: Encoder | None = None


class Models:
    """Lists the models, and changes the encoders among them while they serve.

    Args:
        settings: What the encoders are.
        encoders: Those in service.
        collections: What the encoders have indexed.
        pipelines: What needs them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        encoders: Encoders,
        collections: Collections,
        pipelines: Mapping[str, Pipeline],
    ) -> None:
        self._settings = settings
        self._encoders = encoders
        self._collections = collections
        self._pipelines = pipelines
        self._parts = {part.name: part for part in _parts(pipelines)}
        self._latest = {name: _Latest(encoders[name]) for name in settings.encoders}

    def __iter__(self) -> Iterator[Model]:
        """Every version, by name and then by number."""
        for name in sorted({*self._latest, *self._parts}):
            yield from self.versions(name)

    def __getitem__(self, name: str) -> Model:
        """The version in service, else the newest one.

        Raises:
            NotFoundError: There is no model of that name.
        """
        return self.versions(name)[0]

    def versions(self, name: str) -> list[Model]:
        """The version in service, then a newer one that is being loaded or has failed.

        Raises:
            NotFoundError: There is no model of that name.
        """
        if name in self._parts:
            return [self._parts[name]]
        latest = self._of(name)
        model = Model(name=name, family="encoder", method=self._settings.encoders[name].method)
        found = []
        if name in self._encoders.names:
            encoder = self._encoders[name]
            found.append(replace(model, version=latest.serving, encoder=encoder))
        if latest.state is not State.READY:
            number = latest.number
            found.append(replace(model, version=number, state=latest.state, reason=latest.reason))
        return found

    def serving(self, name: str) -> int | None:
        """The number of the version in service, or None where there is none.

        Raises:
            NotFoundError: There is no model of that name.
        """
        if name in self._parts:
            return 1
        latest = self._of(name)
        return latest.serving if name in self._encoders.names else None

    async def load(self, name: str, folder: str | None = None) -> Model:
        """Loads and warms an encoder beside the one in service, then switches to it.

        Args:
            name: The encoder's.
            folder: Where it is, below `models_folder`; None for where it was.

        Raises:
            NotFoundError: There is no model of that name.
            InputError: The folder is not below `models_folder`, or the method has none.
            ModelError: Its files are missing or damaged, or it does not run.
            MismatchError: It does not fit what was built on the one before it, or this process is
                one of several.
        """
        latest = self._changing(name)
        async with latest.lock:
            path = latest.folder
            if folder is not None:
                path = await asyncio.to_thread(self._path, name, folder)
            latest.number += 1
            latest.state, latest.reason = State.LOADING, ""
            try:
                encoder = await asyncio.to_thread(open_encoder, self._settings, name, path)
                await self._fits(name, latest, encoder)
            except BaseException as error:
                known = isinstance(error, TamisError)
                latest.state = State.UNAVAILABLE
                latest.reason = str(error) if known else "its loading was broken off"
                raise
            await self._encoders.put(name, encoder)
            latest.state, latest.serving, latest.folder = State.READY, latest.number, path
            latest.fingerprint = encoder.fingerprint
            logger.info("%s: switched to version %d", name, latest.number)
            return self[name]

    async def unload(self, name: str) -> None:
        """Takes an encoder out of service; what it has begun it finishes.

        Raises:
            NotFoundError: There is no model of that name.
            MismatchError: A pipeline needs it, or new collections do, or this process is one of
                several.
        """
        latest = self._changing(name)
        async with latest.lock:
            needed = [n for n, p in self._pipelines.items() if name in encoders_of(p)]
            if needed:
                raise MismatchError(f"{name}: needed by pipelines: {', '.join(sorted(needed))}")
            if any(vector.partition(".")[0] == name for vector in self._settings.store.vectors):
                raise MismatchError(f"{name}: needed by store.vectors, for new collections")
            if name in self._encoders.names:
                self._encoders.remove(name)
                latest.state, latest.reason = State.UNAVAILABLE, "unloaded"
                logger.info("%s: unloaded", name)

    def _changing(self, name: str) -> "_Latest":
        if name in self._parts:
            raise MismatchError(
                f"{name}: part of pipeline {name.partition('.')[0]}, which needs it; of the models "
                "only encoders change while serving"
            )
        latest = self._of(name)
        if self._settings.workers > 1:
            raise MismatchError(
                f"workers: {self._settings.workers}, of which a call reaches one: change the files "
                "or the settings and restart the workers one by one (SIGHUP)"
            )
        return latest

    def _of(self, name: str) -> "_Latest":
        if name not in self._latest:
            known = ", ".join(sorted({*self._latest, *self._parts}))
            raise NotFoundError(f"model {name!r} is not one of: {known}")
        return self._latest[name]

    def _path(self, name: str, folder: str) -> str:
        method = self._settings.encoders[name].method
        if not takes(method, "folder"):
            raise InputError(f"folder: {method} is not read from a folder")
        return below(self._settings.models_folder, folder)

    async def _fits(self, name: str, latest: "_Latest", encoder: Encoder) -> None:
        """Pipelines are built on an encoder's heads, and collections hold what it made.

        Raises:
            MismatchError: The heads are others, or a collection could not be searched any more.
        """
        if dict(encoder.heads) != latest.heads:
            raise MismatchError(
                f"{name}: makes {_said(encoder.heads)}; it must make {_said(latest.heads)}, as the "
                "one before it: give it another name in the settings"
            )
        old, new = latest.fingerprint, encoder.fingerprint
        if old == new:
            return
        holding = [c for c in await self._collections.store.names() if await self._holds(c, name)]
        if holding:
            more = f" and {len(holding) - NAMED} more" if len(holding) > NAMED else ""
            raise MismatchError(
                f"{name}: has fingerprint {new}, and collections hold what fingerprint {old} made: "
                f"{', '.join(holding[:NAMED])}{more}: index their documents again with an encoder "
                "of another name, or delete them first"
            )

    async def _holds(self, collection: str, name: str) -> bool:
        made_by = self._latest[name].fingerprint
        return any(
            field.name.partition(".")[0] == name and field.fingerprint == made_by
            for field in await self._collections.fields(collection)
        )


class _Latest:
    """What is known of one encoder's name, across its versions.

    Attributes:
        heads: What every version makes.
        fingerprint: Of the version that is in service, or was last.
        folder: Where that one is; None for where the settings say.
        serving: Its number.
        number: Of the newest version.
        state: Of the newest version.
        reason: Why the newest version is unavailable.
        lock: Held by the one load or unload that is under way.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.heads = dict(encoder.heads)
        self.fingerprint = encoder.fingerprint
        self.folder: str | None = None
        self.serving = self.number = 1
        self.state, self.reason = State.READY, ""
        self.lock = asyncio.Lock()


def _said(heads: Mapping[str, Head]) -> str:
    return ", ".join(
        f"{name} ({head.kind}, dim {head.dim}, space {head.space})" for name, head in heads.items()
    )


def _parts(pipelines: Mapping[str, Pipeline]) -> Iterator[Model]:
    for name, pipeline in pipelines.items():
        rerank, refine = pipeline.stage(Rerank), pipeline.stage(Refine)
        yield Model(name=f"{name}.rerank", family="reranker", method=rerank.name)
        names = {"visual": refine.visual_name, "text": refine.text_name}
        if refine.key_values is not None:
            names["key_values"] = refine.key_values.name
        for kind, method in names.items():
            if method:
                yield Model(name=f"{name}.refine.{kind}", family="refiner", method=method)


def encoders_of(pipeline: Pipeline) -> set[str]:
    """The names of the encoders that a pipeline cannot do without."""
    refine, retriever = pipeline.stage(Refine), pipeline.stage(Retrieve).retriever
    reranker = pipeline.stage(Rerank).reranker
    heads = {*retriever.needs, *retriever.vectors, *reranker.needs}
    names = {full.partition(".")[0] for full in heads} | {refine.encoder}
    for method in (retriever, reranker, refine.visual, refine.text):
        if method is not None:
            names |= {tokens.name for tokens in _tokens(method)}
    return names


def _tokens(method: Method) -> Iterator[CurrentTokens]:
    for field in fields(method):  # type: ignore[arg-type]  # every method is a dataclass
        value = getattr(method, field.name)
        if isinstance(value, CurrentTokens):
            yield value
        elif isinstance(value, Method):
            yield from _tokens(value)
