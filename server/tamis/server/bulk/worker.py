"""One worker of a bulk job: reads a shard, encodes what is new in it, and upserts that."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.client import (
    AsyncClient,
    CallCancelledError,
    Document,
    Limits,
    OverloadedError,
    TamisClientError,
    UnavailableError,
    View,
)
from tamis.models.errors import TamisError
from tamis.server.bulk.corpus import Shard
from tamis.server.bulk.ledger import Digests, digest

if TYPE_CHECKING:
    from tamis.server.bulk.encoding import DocumentEncoders

MAX_IDS = 1_000  # that one GetDocuments takes
# How often a shard is sent before the job stops, and how long a server may take to come back.
ATTEMPTS, RECOVERY_S = 5, 60.0

Failures = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a job must know.

    Attributes:
        target: The server's address, as the worker's machine reaches it.
        collection: Where the documents go. It is there.
        limits: What the server takes.
        batch: Documents in one message.
        acknowledged: Digests of the documents that an earlier run has put in.
        settings: The settings of the server, whose encoders then run in the worker; None leaves the
            encoding to the server.
        workers: How many share the machine's cores.
    """

    target: str
    collection: str
    limits: Limits
    batch: int
    acknowledged: Digests = field(default_factory=Digests)
    settings: Path | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a shard.

    Attributes:
        digests: Of the documents that the server has acknowledged now, one after another.
        upserted: How many those are.
        held: Documents that were there already.
        failures: The others, by id, and why each was left out.
        error: Why the job cannot go on; empty where it can. Then the shard is not done.
    """

    digests: bytes = b""
    upserted: int = 0
    held: int = 0
    failures: Failures = field(default_factory=list)
    error: str = ""


class Worker:
    """Does shards, one at a time. What it needs is opened at the first one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._runner = asyncio.Runner()
        self._client: AsyncClient | None = None
        self._encoders: DocumentEncoders | None = None

    def index(self, shard: Shard) -> Report:
        """Puts the shard's documents into the collection. Never raises but for a bug."""
        try:
            documents = list(shard.documents(self._job.limits))
            return self._runner.run(self._index(documents, shard.skipped))
        except (TamisClientError, TamisError, OSError, ValueError) as error:
            return Report(error=str(error))

    async def _index(self, documents: Sequence[Document], unread: Failures) -> Report:
        client = await self._opened()
        new = await self._new(client, documents)
        ready, failures = [one for one, _ in new], list(unread)
        if self._encoders is not None:
            ready, bad = await self._encoders.encoded(ready)
            failures += bad
        refused = await self._sent(client, ready) if ready else []
        out = {name for name, _ in refused}
        sent = {one.id for one in ready} - out
        return Report(
            digests=b"".join(mark for one, mark in new if one.id in sent),
            upserted=len(sent),
            held=len(documents) - len(new),
            failures=failures + refused,
        )

    async def _new(
        self, client: AsyncClient, documents: Sequence[Document]
    ) -> list[tuple[Document, bytes]]:
        """The documents that must be sent, with their digests.

        That the ledger has one is not enough: it may have been deleted since.
        """
        marked = [(one, digest(one)) for one in documents]
        known = [one.id for one, mark in marked if mark in self._job.acknowledged]
        held: set[str] = set()
        for at in range(0, len(known), MAX_IDS):
            ids = known[at : at + MAX_IDS]
            got = await client.get(self._job.collection, ids, view=View.ID)
            held |= {one.id for one in got}
        return [
            (one, mark)
            for one, mark in marked
            if one.id not in held or mark not in self._job.acknowledged
        ]

    async def _sent(self, client: AsyncClient, documents: Sequence[Document]) -> Failures:
        """Upserts documents, again where the server goes away meanwhile; says which it refused."""
        for attempt in range(1, ATTEMPTS + 1):
            stream = client.upsert(self._job.collection, documents, self._job.batch)
            try:
                total = await stream.final()
            except (UnavailableError, OverloadedError, CallCancelledError):
                if attempt == ATTEMPTS:
                    raise
                await client.wait_until_ready(RECOVERY_S)
            else:
                return [(one.document_id, one.failure.message) for one in total.failures]
        raise AssertionError("the last attempt returns or raises")

    async def _opened(self) -> AsyncClient:
        job = self._job
        if self._client is None:
            client = AsyncClient(job.target)
            if job.settings is not None:
                # Who leaves the encoding to the server needs no models' packages.
                from tamis.server.bulk.encoding import DocumentEncoders

                fields = (await client.collection(job.collection)).vectors
                self._encoders = await DocumentEncoders.open(job.settings, fields, job.workers)
            self._client = client
        return self._client

    def close(self) -> None:
        """Ends the encoders and the connection."""
        with self._runner:
            self._runner.run(self._close())

    async def _close(self) -> None:
        if self._encoders is not None:
            await self._encoders.close()
        if self._client is not None:
            await self._client.close()
