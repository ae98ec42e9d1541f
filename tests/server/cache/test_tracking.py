"""What other processes change in Redis is forgotten here, where Redis tells of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from cache_support import Clock, settings
from redis_server import RedisServer, SentinelServer, cluster, wanted_binary

from tamis.server.cache.connection import connect
from tamis.server.cache.embeddings import EmbeddingCache, Policy, Representations, Source
from tamis.server.cache.settings import CacheSettings
from tamis.server.cache.tracking import Tracker

KEY = EmbeddingCache.key("f00d", "a")
PATIENCE_S = 10.0
VALUE: Representations = {"dense": np.ones(4, dtype=np.float32)}

Hear = Callable[[CacheSettings], "Ear"]


class Ear:
    """Remembers what a tracker tells."""

    def __init__(self, settings: CacheSettings) -> None:
        self.heard: asyncio.Queue[Sequence[str] | None] = asyncio.Queue()
        self.connection = connect(settings, limit_s=5.0, max_connections=4)
        self.tracker = Tracker(self.connection, "tamis:", self.heard.put_nowait, pause_s=0.05)
        self.tracker.start()

    async def next(self) -> Sequence[str] | None:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)

    async def all_of(self, wanted: set[str]) -> None:
        """Returns when all of these have been told."""
        while wanted:
            wanted -= {*(await self.next() or ())}


@pytest_asyncio.fixture
async def hear() -> AsyncIterator[Hear]:
    ears: list[Ear] = []

    def make(settings: CacheSettings) -> Ear:
        ears.append(Ear(settings))
        return ears[-1]

    yield make
    for ear in ears:
        await ear.tracker.close()
        await ear.connection.close()


async def test_writes_deletions_and_a_flush_are_told(redis_server: RedisServer, hear: Hear) -> None:
    ear = hear(settings(redis_server.url))
    assert await ear.next() is None, "what changed before is not known"
    redis_server.command("SET", "elsewhere", "1")
    redis_server.command("SET", "tamis:a", "1")
    assert await ear.next() == ["tamis:a"]
    redis_server.command("DEL", "tamis:a")
    assert await ear.next() == ["tamis:a"]
    redis_server.command("FLUSHALL")
    assert await ear.next() is None


async def test_after_a_lost_connection_all_may_have_changed(
    redis_server: RedisServer, hear: Hear
) -> None:
    ear = hear(settings(redis_server.url))
    assert await ear.next() is None
    redis_server.stop()
    redis_server.start()
    assert await ear.next() is None
    redis_server.command("SET", "tamis:a", "1")
    assert await ear.next() == ["tamis:a"]


async def test_every_node_of_a_cluster_is_heard(tmp_path: Path, hear: Hear) -> None:
    with cluster(tmp_path) as nodes:
        ear = hear(replace(settings(nodes[0].url), redis_mode="cluster"))
        assert await ear.next() is None
        names = {f"tamis:{number}" for number in range(20)}
        for name in names:
            await ear.connection.client.set(name, "1")
        await ear.all_of(names)


async def test_the_primary_that_sentinels_name_is_heard(
    tmp_path: Path, redis_server: RedisServer, hear: Hear
) -> None:
    folder = tmp_path / "sentinel"
    folder.mkdir()
    sentinel = SentinelServer(wanted_binary(), folder, redis_server, "quiet")
    sentinel.start()
    try:
        named = replace(
            settings(f"redis://127.0.0.1:{sentinel.port}/0"),
            redis_mode="sentinel",
            redis_sentinel_password="quiet",
        )
        ear = hear(named)
        assert await ear.next() is None
        redis_server.command("SET", "tamis:a", "1")
        assert await ear.next() == ["tamis:a"]
    finally:
        sentinel.stop()


async def test_a_server_without_tracking_is_asked_once(
    redis_server: RedisServer, hear: Hear, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.command("ACL", "SETUSER", "default", "-client")
    caplog.set_level(logging.INFO, "tamis.server.cache.tracking")
    ear = hear(settings(redis_server.url))
    await asyncio.wait(ear.tracker._tasks, timeout=PATIENCE_S)
    assert ear.heard.empty()
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("redis: offers no tracking: ")


class Listening(EmbeddingCache):
    """Says when it has been told of a change."""

    def __init__(self, settings: CacheSettings) -> None:
        self.told = asyncio.Event()
        super().__init__(settings, clock=Clock())

    def _changed(self, changed: Sequence[str] | None) -> None:
        super()._changed(changed)
        self.told.set()


async def test_what_one_process_purges_another_forgets(redis_server: RedisServer) -> None:
    named = settings(redis_server.url, local_bytes=1 << 20)
    one, other = EmbeddingCache(named, clock=Clock()), Listening(named)

    async def compute() -> Representations:
        return VALUE

    async def source(cache: EmbeddingCache) -> Source:
        return (await cache.get_or_compute(KEY, compute, Policy.DEFAULT))[1]

    for cache in (one, other):
        await cache.warm_up()
        await asyncio.wait_for(cache._tracker.listening.wait(), PATIENCE_S)
    assert await source(one) is Source.ENCODER
    await one.settle()
    await asyncio.wait_for(other.told.wait(), PATIENCE_S)
    assert await source(other) is Source.REDIS
    assert await source(other) is Source.LOCAL
    other.told.clear()
    assert await one.purge("f00d") >= 1
    await asyncio.wait_for(other.told.wait(), PATIENCE_S)
    assert await source(other) is Source.ENCODER
    await one.close()
    await other.close()
