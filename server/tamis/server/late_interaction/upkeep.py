"""When collections are built for: when a caller asks, and when they have outgrown what there is."""

import asyncio
import json
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tamis.models.errors import TamisError
from tamis.models.runtimes.max_sim import fastest
from tamis.server import children
from tamis.server.errors import MismatchError
from tamis.server.late_interaction.building import Progress, Step, outgrown
from tamis.server.late_interaction.fields import listed
from tamis.server.late_interaction.job import Job
from tamis.server.late_interaction.open_files import Field
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.revision import Revision
from tamis.server.store import CollectionSchema, StoreUnavailableError, VectorStore
from tamis.server.store_settings import StoreSettings

logger = logging.getLogger(__name__)

_STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Starts the processes that build, one at a time for each field.

    Attributes:
        late: What they build for.
        store: The index.
        settings: Where it is; its `url` is set.
        revision: The file that tells processes of changes.
        copies: Whether this index is worth a copy.
    """

    late: LateInteraction
    store: VectorStore
    settings: StoreSettings
    revision: Path
    copies: bool

    async def run(self) -> None:
        """Looks at all collections now and then, until it is cancelled."""
        while self.late.settings.look_after_s:
            await asyncio.sleep(self.late.settings.look_after_s)
            try:
                for name in await self.store.names():
                    await self._look(name)
            except TamisError as error:  # the next look may go well
                logger.warning("late interaction: not looked after: %s", error)

    async def _look(self, name: str) -> None:
        schema = await self.store.schema(name)
        for vector in listed(schema):
            field = await self.late.files.field(schema, vector)
            if field is None:
                continue
            afresh = self._drifted(field) or field.damaged_centroids
            trains = afresh or await self._outgrown(name, field)
            copies = self.copies and self._copy_is_due(field)
            if not trains and not copies and not field.state.filling:
                continue
            logger.info("%s: %s: optimizing", name, vector)
            try:
                async with aclosing(self._build(name, schema, field, retrain=afresh)) as steps:
                    async for _ in steps:
                        pass
            except MismatchError:
                logger.debug("%s: %s: another process does it", name, vector)

    async def optimize(
        self, name: str, schema: CollectionSchema, *, retrain: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """Does now what is due, and makes the copy again. Ends with its caller.

        Args:
            name: The collection's.
            schema: What it indexes.
            retrain: Train centroids again even if they still fit.

        Raises:
            MismatchError: Another process is at it.
            StoreUnavailableError: It cannot be done now.
        """
        for vector in listed(schema):
            field = await self.late.files.field(schema, vector)
            if field is not None:
                async with aclosing(self._build(name, schema, field, retrain=retrain)) as steps:
                    async for progress in steps:
                        yield progress

    async def _outgrown(self, name: str, field: Field) -> bool:
        return outgrown(self.late.settings, field.state, await self.store.count(name))

    def _drifted(self, field: Field) -> bool:
        serving, now = field.state.serving, field.similarity
        if serving is None or now is None:
            return False
        return now < (1 - self.late.settings.retrain_drift) * serving.similarity

    def _copy_is_due(self, field: Field) -> bool:
        if not self.late.settings.copy or field.state.serving is None:
            return False
        return not field.state.copy or field.stale > self.late.settings.copy_stale

    async def _build(
        self, name: str, schema: CollectionSchema, field: Field, *, retrain: bool
    ) -> AsyncGenerator[Progress, None]:
        job = Job(
            store=self.settings,
            settings=self.late.settings,
            collection=name,
            vector=field.vector,
            dim=schema.vectors[field.vector].size,
            folder=str(field.folder),
            revision=str(self.revision),
            retrain=retrain,
            copy=self.copies,
        )
        process = await children.spawn(
            "tamis.server.late_interaction", stdout=PIPE, environment=job.environment()
        )
        try:
            async with aclosing(_told(process)) as steps:
                async for progress in steps:
                    yield progress
        finally:
            await children.end(process, _STOP_S)


async def _told(process: Process) -> AsyncGenerator[Progress, None]:
    """What a process says of its progress.

    Raises:
        MismatchError: Another process is at it.
        StoreUnavailableError: It failed, or ended without a word.
    """
    if process.stdout is None:
        return
    async for line in process.stdout:
        said = json.loads(line)
        if "failed" in said:
            kind = MismatchError if said["busy"] else StoreUnavailableError
            raise kind(said["failed"])
        yield Progress(said["vector"], Step(said["step"]), said["done"], said["total"])
    if status := await process.wait():
        raise StoreUnavailableError(f"optimizing ended with status {status}")


@asynccontextmanager
async def looked_after(
    store: VectorStore,
    index: StoreSettings,
    settings: LateInteractionSettings,
    revision: Revision,
) -> AsyncIterator[Upkeep]:
    """What searches late interaction, and builds for it while the block lasts.

    Args:
        store: The index.
        index: Where it is; its `url` is set.
        settings: When and how.
        revision: Changes with every change of the files.
    """
    folder = Path(index.folder)
    # A cluster's documents change by other machines too, whose versions are not one count.
    copies = settings.copy and index.url.startswith("unix:")
    kernel = await asyncio.to_thread(fastest) if copies else None
    late = LateInteraction(store, folder / "late_interaction", settings, revision, kernel)
    upkeep = Upkeep(
        late=late, store=store, settings=index, revision=folder / "revision", copies=copies
    )
    looking = asyncio.create_task(upkeep.run())
    try:
        yield upkeep
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await late.files.close()
