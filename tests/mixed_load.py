"""A server whose documents are searched, written and deleted at the same time."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from serving import Served

from tamis.client import AsyncClient, Document, UnavailableError

PERIOD_S = 0.05  # between two searches
LONGEST_S = 60.0  # of anything on a busy machine


def kill_engine(served: Served) -> None:
    for pid in served.children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Load:
    """Searches at a fixed pace, upserts and deletes one after another, in the collection `load`.

    Any error but a search's UnavailableError, which is kept, ends it.

    Attributes:
        written: The documents whose upsert was acknowledged, but those that are deleted.
        deleted: The documents whose deletion was acknowledged.
        answered: When a search began that was answered, and how long it took, in seconds.
        refused: The searches' errors.
        over: Ends it.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.written: set[str] = set()
        self.deleted: set[str] = set()
        self.answered: list[tuple[float, float]] = []
        self.refused: list[UnavailableError] = []
        self.over = asyncio.Event()

    async def run(self, *, writes: bool = True) -> None:
        async with asyncio.TaskGroup() as tasks:
            if writes:
                tasks.create_task(self._upsert())
                tasks.create_task(self._delete())
            while not self.over.is_set():
                tasks.create_task(self._search())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), PERIOD_S)

    async def until(self, running: "asyncio.Task[None]", reached: Callable[[], object]) -> None:
        """Waits until `reached()`, unless the load has failed."""
        async with asyncio.timeout(LONGEST_S):
            while not reached():
                if running.done():
                    running.result()
                await asyncio.sleep(PERIOD_S)

    async def _search(self) -> None:
        began = time.monotonic()
        try:
            assert await self._client.hits("a red bicycle", collection="load", timeout=LONGEST_S)
        except UnavailableError as error:
            self.refused.append(error)
        else:
            self.answered.append((began, time.monotonic() - began))

    async def _upsert(self) -> None:
        number = 0
        while not self.over.is_set():
            names = [f"new-{number}", f"new-{number + 1}"]
            documents = [Document(id=name, text=f"A {name} car.") for name in names]
            progress = await self._client.upsert("load", documents).final()
            assert progress.upserted == 2
            self.written.update(names)
            number += 2

    async def _delete(self) -> None:
        while not self.over.is_set():
            for name in [name for name in self.written if name.endswith("0")]:
                self.written.discard(name)
                await self._client.delete("load", [name])
                self.deleted.add(name)
            await asyncio.sleep(PERIOD_S)
