"""Hears from Redis which keys have changed, so that what a process remembers is not out of date."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from tamis.server.cache.connection import Connection
from tamis.server.cache.link import said

logger = logging.getLogger(__name__)

Changed = Callable[[Sequence[str] | None], None]


class Tracker:
    """Client tracking in its broadcasting mode (RESP3), on a connection to each primary.

    Redis tells of every key of the prefix that is written, deleted, expired or evicted, this
    process's own writes among them. What it told while a connection was lost is unknown: then all
    keys count as changed. A server that offers no tracking is asked once and not again.

    Args:
        connection: To the Redis whose keys are meant.
        prefix: What the keys begin with.
        changed: Is told of the keys; of None where it may be any of them.
        pause_s: Before a lost connection is made again, in seconds.
    """

    def __init__(
        self, connection: Connection, prefix: str, changed: Changed, *, pause_s: float
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._changed = changed
        self._pause_s = pause_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.listening = asyncio.Event()  # set while every primary is heard

    def start(self) -> None:
        """Begins to listen; what goes wrong is logged, and costs nothing else."""
        if not self._tasks:
            self._tasks.add(asyncio.create_task(self._listen()))

    async def close(self) -> None:
        """Stops listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        quiet = False
        while True:
            try:
                await self._session()
            except ResponseError as error:
                logger.info("redis: offers no tracking: %s", said(error))
                return
            except Exception as error:  # noqa: BLE001 - nonsense can fail anywhere in the client
                if not quiet:
                    logger.info("redis: changes are not heard of: %s", said(error))
                quiet = not self.listening.is_set()
            finally:
                self.listening.clear()
            await asyncio.sleep(self._pause_s)

    async def _session(self) -> None:
        """Listens to all primaries until one of them is lost."""
        connections = await self._connections()
        try:
            for connection in connections:
                await self._subscribe(connection)
            self._changed(None)
            self.listening.set()
            await _first(*(_hear(connection) for connection in connections))
        finally:
            for connection in connections:
                await connection.disconnect(nowait=True)

    async def _connections(self) -> list[Any]:
        """Connections of their own, one to each primary; none of them is open yet."""
        client: Any = self._connection.client
        if isinstance(client, RedisCluster):
            await client.initialize()
            pools: list[Any] = list(client.get_primaries())
        else:
            pools = [client.connection_pool]
        return [
            pool.connection_class(**(pool.connection_kwargs | {"protocol": 3})) for pool in pools
        ]

    async def _subscribe(self, connection: Any) -> None:
        async def told(message: Sequence[Any]) -> None:
            keys = message[1]
            self._changed(None if keys is None else [key.decode() for key in keys])

        await connection.connect()
        connection._parser.set_invalidation_push_handler(told)
        await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
        await connection.read_response()


async def _hear(connection: Any) -> None:
    """Reads what comes, which the parser hands over, until the connection is lost."""
    while True:
        await connection.read_response(timeout=math.inf, push_request=True)


async def _first(*work: Any) -> None:
    """Returns, or raises, when the first of them does; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
