"""Which store the settings mean."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tamis.server.store import VectorStore
from tamis.server.store.connection import authorities_of, channel_to
from tamis.server.store.qdrant import QdrantStore
from tamis.server.store.supervisor import Supervisor
from tamis.server.store_settings import StoreSettings


@asynccontextmanager
async def open_index(settings: StoreSettings) -> AsyncIterator[str]:
    """The index's address, with an engine process of its own where the settings name none.

    Raises:
        StoreUnavailableError: The engine cannot start.
    """
    if settings.url:
        yield settings.url
        return
    async with Supervisor(
        Path(settings.folder) / "engine",
        max_queued=settings.max_queued,
        min_free_bytes=settings.min_free_bytes,
        hung_after_s=settings.hung_after_s,
    ) as engine:
        yield engine.target


@asynccontextmanager
async def open_store(settings: StoreSettings) -> AsyncIterator[VectorStore]:
    """The store, with an engine process of its own where the settings name no address.

    An address may also be ``unix:/path``, an engine that another process supervises: that is how
    the workers of one server share it.

    Raises:
        StoreUnavailableError: The engine cannot start.
        InputError: The address is not one.
        SettingsError: The file with the authorities cannot be read.
    """
    async with open_index(settings) as url:
        authorities = await asyncio.to_thread(authorities_of, settings.ca_file)
        store = QdrantStore(
            channel_to(url, authorities=authorities, attempts=settings.attempts),
            timeout_s=settings.timeout_s,
            api_key=settings.api_key,
            consistency=settings.consistency,
            ordering=settings.ordering,
        )
        try:
            yield store
        finally:
            await store.close()
