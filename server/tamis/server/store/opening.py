"""Which store the settings mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tamis.server.config import StoreSettings
from tamis.server.store import VectorStore
from tamis.server.store.qdrant import QdrantStore, channel_to
from tamis.server.store.supervisor import Supervisor


@asynccontextmanager
async def open_index(settings: StoreSettings) -> AsyncIterator[str]:
    """The index's address, with an engine process of its own where the settings name none.

    Raises:
        StoreUnavailableError: The engine cannot start.
    """
    if settings.url:
        yield settings.url
        return
    async with Supervisor(Path(settings.folder) / "engine") as engine:
        yield engine.target


@asynccontextmanager
async def open_store(settings: StoreSettings) -> AsyncIterator[VectorStore]:
    """The store, with an engine process of its own where the settings name no address.

    An address may also be ``unix:/path``, an engine that another process supervises: that is how
    the workers of one server share it.

    Raises:
        StoreUnavailableError: The engine cannot start.
        InputError: The address is not one.
    """
    async with open_index(settings) as url:
        store = QdrantStore(channel_to(url), timeout_s=settings.timeout_s)
        try:
            yield store
        finally:
            await store.close()
