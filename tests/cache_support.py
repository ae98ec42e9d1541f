"""What the tests of the caches share: a clock, settings, and a server of nonsense."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from tamis.server.cache.settings import CacheSettings


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def settings(
    url: str, *, timeout_ms: float = 2_000.0, local_bytes: int = 0, failures: int = 3
) -> CacheSettings:
    """With patience, so that a busy machine is not taken for a broken Redis."""
    return CacheSettings(
        local_bytes=local_bytes,
        redis_url=url,
        redis_timeout_ms=timeout_ms,
        breaker_failures=failures,
        breaker_pause_s=5.0,
    )


async def took_s(work: Awaitable[object]) -> float:
    """How long it took, in seconds."""
    start = asyncio.get_running_loop().time()
    await work
    return asyncio.get_running_loop().time() - start


@asynccontextmanager
async def garbage_server(answer: bytes) -> AsyncIterator[str]:
    """The URL of something that is no Redis: it says `answer` to whatever it hears."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            while await reader.read(65_536):
                writer.write(answer)
                await writer.drain()
                if not answer:
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the test is over, or the client has gone
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers)
        await server.wait_closed()
