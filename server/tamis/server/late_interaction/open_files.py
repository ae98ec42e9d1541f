"""What a process has open of the files: which centroids serve, and the copies in bytes."""

import asyncio
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tamis.models.blocks.centroids import Centroids
from tamis.server.late_interaction import generations
from tamis.server.late_interaction.copy import Copy, CopyDamagedError
from tamis.server.late_interaction.fields import IDENTITY, listed
from tamis.server.late_interaction.generations import Generation, State
from tamis.server.revision import Revision
from tamis.server.store import CollectionSchema

logger = logging.getLogger(__name__)

TTL_S = 5.0  # how long another machine's change may go unnoticed
WEIGHT = 0.05  # of the newest search, or message of documents, in what is remembered of them all


@dataclass(slots=True)
class Field:
    """What this process has of one field of one collection.

    Attributes:
        folder: Where its files are.
        vector: Its name.
        state: What the files say.
        mark: Of the revision at which they were read.
        read_s: When that was.
        copy: The open copy, once it is checked.
        damaged: The name of a copy that was not whole.
        damaged_centroids: Whether the centroids' file could not be read.
        stale: The share of candidates that the copy lacked, lately.
        similarity: Of new documents' vectors with their centroids, lately; None for not known.
    """

    folder: Path
    vector: str
    state: State
    mark: bytes
    read_s: float
    copy: Copy | None = None
    damaged: str = ""
    damaged_centroids: bool = False
    stale: float = 0.0
    similarity: float | None = None

    def note_stale(self, share: float) -> None:
        """Remembers what share of a search's candidates the copy lacked."""
        self.stale += WEIGHT * (share - self.stale)

    def note_similarity(self, similarity: float) -> None:
        """Remembers how similar new vectors were to their centroids."""
        before = similarity if self.similarity is None else self.similarity
        self.similarity = before + WEIGHT * (similarity - before)


class OpenFiles:
    """The files of all collections, read again when they may have changed.

    Args:
        folder: Where they are, in a folder a collection.
        revision: Changes with every change of them, by whatever process.
        copies: Whether to open the copies in bytes.
    """

    def __init__(self, folder: Path, revision: Revision, *, copies: bool) -> None:
        self._folder = folder
        self._revision = revision
        self._copies = copies
        self._fields: dict[tuple[str, str], Field] = {}
        self._centroids: dict[Path, Centroids] = {}
        self._opening: dict[Path, asyncio.Task[None]] = {}

    def folder_of(self, schema: CollectionSchema) -> Path | None:
        """Where a collection's files are; None for one that was made before it had any."""
        identity = schema.metadata.get(IDENTITY)
        return self.folder_for(str(identity)) if identity else None

    def folder_for(self, identity: str) -> Path:
        """Where the files of the collection are that has this identity in its metadata."""
        return self._folder / identity

    async def field(self, schema: CollectionSchema, vector: str) -> Field | None:
        """What there is of a field, as its files say now; None where it has no lists."""
        folder = self.folder_of(schema)
        if folder is None or vector not in listed(schema):
            return None
        key, mark, now_s = (folder.name, vector), self._revision.now(), time.monotonic()
        known = self._fields.get(key)
        if known and known.mark == mark and now_s - known.read_s < TTL_S:
            return known
        state = await asyncio.to_thread(generations.read, folder, vector)
        if known is None or known.folder != folder:
            known = Field(folder, vector, state, mark, now_s)
            self._fields[key] = known
        if known.state.serving != state.serving:
            known.similarity, known.damaged_centroids = None, False
        if known.state.copy != state.copy:
            known.copy, known.stale = None, 0.0
        known.state, known.mark, known.read_s = state, mark, now_s
        self._open_copy(known)
        return known

    async def centroids(self, field: Field, generation: Generation) -> Centroids | None:
        """The centroids, or None where their file is damaged or gone: then all are compared."""
        path = field.folder / generation.file
        if path not in self._centroids:
            try:
                loaded = await asyncio.to_thread(generations.load, field.folder, generation)
            except (OSError, ValueError) as error:
                logger.warning("%s: not used, and made again: %s", path, error)
                field.damaged_centroids = True
                return None
            named = {field.folder / one.file for one in field.state.generations}
            for old in [one for one in self._centroids if one.parent == field.folder]:
                if old.name.startswith(f"{field.vector}.") and old not in named:
                    del self._centroids[old]
            self._centroids[path] = loaded
        return self._centroids[path]

    async def forget(self, schema: CollectionSchema) -> None:
        """Deletes the files of a collection that is gone."""
        if folder := self.folder_of(schema):
            for key in [key for key in self._fields if key[0] == folder.name]:
                del self._fields[key]
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def opened(self) -> None:
        """Returns when the copies that are being opened are open, or have proved damaged."""
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def close(self) -> None:
        """Lets go of copies that are being opened."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    def _open_copy(self, field: Field) -> None:
        """Opens the copy in the background: reading it to its end takes a second a gigabyte."""
        name, path = field.state.copy, field.folder / field.state.copy
        wanted = self._copies and name and field.copy is None and name != field.damaged
        if wanted and path not in self._opening:
            task = asyncio.create_task(self._check_copy(field, path))
            self._opening[path] = task
            task.add_done_callback(lambda _: self._opening.pop(path, None))

    async def _check_copy(self, field: Field, path: Path) -> None:
        try:
            opened = await asyncio.to_thread(Copy.open, path)
        except CopyDamagedError as error:
            logger.warning("the copy is not used, and made again: %s", error)
            field.damaged, field.stale = path.name, 1.0
            return
        if field.state.copy == path.name:
            field.copy = opened
