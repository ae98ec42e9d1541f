"""What the engine does between calls: it flushes, and builds the graphs of large collections."""

import asyncio
import logging

from tamis.server.store.engine.collection import Collection
from tamis.server.store.engine.collections import Collections
from tamis.server.store.engine.errors import NoCollectionError

_LOG = logging.getLogger(__name__)
# A collection that takes more points than this between two looks is being loaded: graphs wait.
_LOADING = 1_000


class Upkeep:
    """Looks at the collections now and then.

    Dense vectors are compared one by one until a graph (HNSW) is built: 0.25 ms for 1,000 of 384
    floats. That is done when `optimize_after` points, and a tenth of the collection, were written
    since the last time, and no bulk load is going on; one collection at a time, in a process of low
    priority, on a copy of the shard (so it needs the collection's size on disk once more).
    """

    def __init__(
        self, collections: Collections, *, look_after_s: float, optimize_after: int
    ) -> None:
        """Takes note of what to look after, and how often, in seconds."""
        self._collections = collections
        self._look_after_s = look_after_s
        self._optimize_after = optimize_after
        self._seen: dict[str, int] = {}
        self._optimizing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(self._look_after_s)
                for collection in list(self._collections):
                    await self._look(collection)
        finally:
            if self._optimizing:
                self._optimizing.cancel()
                await asyncio.gather(self._optimizing, return_exceptions=True)

    async def _look(self, collection: Collection) -> None:
        name, written = collection.name, collection.written
        loading = written - self._seen.get(name, 0) > _LOADING
        self._seen[name] = written
        try:
            if collection.dirty:
                await collection.flush()
            idle = self._optimizing is None or self._optimizing.done()
            if idle and not loading and self._due(collection):
                self._optimizing = asyncio.create_task(self._optimize(collection))
        except NoCollectionError:  # dropped meanwhile
            self._seen.pop(name, None)
        except Exception:  # noqa: BLE001 - the next look may go well
            _LOG.exception("%s: not flushed", name)

    def _due(self, collection: Collection) -> bool:
        due = max(self._optimize_after, collection.shard.info().points_count // 10)
        return collection.graphs and collection.written >= due

    async def _optimize(self, collection: Collection) -> None:
        try:
            _LOG.info("%s: building graphs", collection.name)
            await collection.optimize()
            _LOG.info("%s: built graphs", collection.name)
        except NoCollectionError:  # dropped meanwhile
            pass
        except Exception:  # noqa: BLE001 - searches go on without
            _LOG.exception("%s: no graphs were built", collection.name)
