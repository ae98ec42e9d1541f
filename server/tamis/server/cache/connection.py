"""How Redis is reached: one server, whichever server is the primary now, or a cluster."""

import ssl
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException

from tamis.models.errors import SettingsError
from tamis.server.cache.settings import CacheSettings, RedisMode, host_and_port

DEFAULT_PORTS = {RedisMode.SENTINEL: 26379, RedisMode.CLUSTER: 6379}


class _Cluster(RedisCluster):
    """A client that knows the nodes before it asks one.

    Its parent sends what comes before that to any of them; where five in a row were wrong, it
    closes all connections, those in use too.
    """

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        await self.initialize()  # once, and again after a node was lost
        return await super().execute_command(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of Redis and those whom it asks the way.

    Attributes:
        client: Connects when it is first used, and never tries again of its own.
        sentinels: Who know where the primary is; None where nobody is asked.
    """

    client: Redis
    sentinels: Sentinel | None = None

    async def close(self) -> None:
        """Disconnects."""
        await self.client.aclose()
        if self.sentinels is not None:
            await self.sentinels.aclose()


def connect(settings: CacheSettings, *, limit_s: float, max_connections: int) -> Connection:
    """Prepares to reach Redis; connects nowhere yet.

    Args:
        settings: Its `redis_url` is not empty.
        limit_s: How long connecting, and one answer, may take, in seconds.
        max_connections: At once; of a cluster, to each node.

    Raises:
        SettingsError: The URL is not one that the client reads, or has no meaning in this mode, or
            the file of authorities cannot be read.
    """
    try:
        where: dict[str, Any] = dict(parse_url(settings.redis_url))
    except ValueError as error:
        raise SettingsError(f"cache.redis_url: {error}") from error
    options: dict[str, Any] = {
        "socket_timeout": limit_s,
        "socket_connect_timeout": limit_s,
        "retry": Retry(NoBackoff(), 0),  # some defaults of the client retry for seconds
        "protocol": 2,  # one round trip less to connect than RESP3
        "driver_info": None,  # else each connection looks for its package on the disk
    } | _authorities(settings, where)
    mode = RedisMode(settings.redis_mode)
    if mode is RedisMode.STANDALONE:
        return Connection(
            Redis.from_url(settings.redis_url, max_connections=max_connections, **options)
        )
    if "path" in where:
        raise SettingsError(f"cache.redis_url: a socket has no meaning while redis_mode is {mode}")
    if where.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    first = (where.pop("host", "localhost"), where.pop("port", DEFAULT_PORTS[mode]))
    addresses = [first, *map(host_and_port, settings.redis_addresses)]
    if mode is RedisMode.SENTINEL:
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            addresses,
            sentinel_kwargs={**options, "password": settings.redis_sentinel_password or None},
        )
        primary = sentinels.master_for(
            settings.redis_master, max_connections=max_connections, **(options | where)
        )
        return Connection(primary, sentinels)
    try:
        cluster = _Cluster(
            startup_nodes=[ClusterNode(host, port) for host, port in addresses],
            max_connections=max_connections,
            **(options | where),
        )
    except RedisClusterException as error:  # such as a database other than 0
        raise SettingsError(f"cache.redis_url: {error}") from error
    # It takes the same commands, but the two share no type that has them.
    return Connection(cast(Redis, cluster))


def _authorities(settings: CacheSettings, where: dict[str, Any]) -> dict[str, Any]:
    if not settings.redis_ca_file:
        return {}
    if where.get("connection_class") is not SSLConnection:
        raise SettingsError("cache.redis_ca_file: has no meaning unless redis_url is rediss://")
    try:  # now, because a connection that cannot read it looks like a Redis that is away
        ssl.create_default_context(cafile=settings.redis_ca_file)
    except OSError as error:  # SSLError is one
        raise SettingsError(f"cache.redis_ca_file: {settings.redis_ca_file}: {error}") from error
    return {"ssl_ca_certs": settings.redis_ca_file}
