"""A worker process that asks for one key many times at once: `URL KEY CALLERS LEASE_MS SECONDS`.

It says that it is ready, waits for a line, asks, and prints how often it computed and what it got.
Its model takes so many seconds.
"""

import asyncio
import sys

import numpy as np

from tamis.server.cache.embeddings import EmbeddingCache, Representations
from tamis.server.cache.settings import CacheSettings


async def main(url: str, key: str, callers: int, lease_ms: float, seconds: float) -> None:
    # A budget that a busy machine keeps too: two processes start many tasks on two cores.
    settings = CacheSettings(redis_url=url, redis_timeout_ms=5_000, redis_lease_ms=lease_ms)
    cache = EmbeddingCache(settings)
    await cache.warm_up()
    computed = 0

    async def compute() -> Representations:
        nonlocal computed
        computed += 1
        print("computing", flush=True)
        await asyncio.sleep(seconds)
        return {"dense": np.full(4, 7, np.float32)}

    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    found = await asyncio.gather(*(cache.get_or_compute(key, compute) for _ in range(callers)))
    right = sum(bool(np.all(value["dense"] == 7)) for value, _ in found)
    await cache.close()
    print(f"computed {computed} right {right}", flush=True)


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    )
