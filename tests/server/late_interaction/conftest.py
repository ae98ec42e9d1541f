"""An engine, and a collection of clustered token vectors in it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from clustered import DIM, NAME, SETTINGS, VECTOR, Topics, World
from index_engine import running

from tamis.models.runtimes.max_sim import onnx_kernel
from tamis.models.types import Head, Kind
from tamis.server.collections import Collections
from tamis.server.late_interaction.serving import LateInteraction
from tamis.server.revision import Revision
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine's address; it starts in a second or two, so that tests share it."""
    with running(tmp_path_factory.mktemp("engine")) as target:
        yield target


@pytest.fixture
async def world(engine: str, tmp_path: Path, rng: np.random.Generator) -> AsyncIterator[World]:
    index = StoreSettings(url=engine, folder=str(tmp_path))
    async with open_store(index) as store:
        revision = await asyncio.to_thread(Revision, tmp_path / "revision")
        late = LateInteraction(
            store,
            tmp_path / "late_interaction",
            SETTINGS,
            revision,
            await asyncio.to_thread(onnx_kernel),
        )
        collections = Collections(
            store,
            tmp_path,
            heads={VECTOR: Head(Kind.MULTI, DIM, "s")},
            fingerprints={"t": "f"},
            revision=revision,
            late=late,
        )
        await collections.create(NAME)
        yield World(store, index, tmp_path, collections, revision, Topics(rng))
        await late.files.close()
        await collections.drop(NAME)
