"""Uses a server of its own in every way at once for a while, and says whether anything grows.

    PYTHONPATH=tests python tests/load/soak.py --duration 120

Searches, searches on sessions, searches that are cancelled, deadlines that are too short, bad
requests, embeddings, and documents that come and go; meanwhile the server's memory, open files,
threads, calls and queues are watched. Exits 1 if one of them grows, if anything is left once the
callers have gone, or if a call failed in a way that it should not.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from drawings import documents
from load_calls import Target
from load_server import Watched, watched

from tamis.client import AsyncClient, Document
from tamis.client.aio_session import AsyncSession
from tamis.client.errors import (
    CallCancelledError,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    TamisClientError,
)

COLLECTION, DISTINCT = "soak", 200  # queries: so few that the cache is full soon
SETTLE_S = 10.0
# What the last quarter of the time may have more than the second one.
ALLOWED = {"server MiB": 16.0, "index MiB": 32.0, "open files": 4.0, "threads": 4.0}
IDLE = ("calls", "queued")  # nothing of these may be left in the end

Text = Callable[[], str]
# What these callers ask for: too many at once is an answer, as is too late.
FULL = (OverloadedError, DeadlineExceededError)


@dataclass
class Soak:
    """One soak: the callers, and what was seen."""

    client: AsyncClient
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    did: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        """One of the queries."""
        return Target(address="", distinct=DISTINCT).text(self.rng.randrange(DISTINCT))

    async def caller(self, until: float) -> None:
        """Does one thing after the other, chosen by chance."""
        ways: tuple[tuple[Callable[[], Awaitable[None]], tuple[type[Exception], ...]], ...] = (
            (self.search, FULL),
            (self.session, FULL),
            (self.cancelled, FULL),
            (self.hurried, FULL),
            (self.bad, (InvalidRequestError, NotFoundError)),
            (self.embedded, FULL),
            (self.written, ()),
        )
        weights = (4, 4, 2, 2, 1, 1, 1)
        while time.monotonic() < until:
            ((way, expected),) = self.rng.choices(ways, weights)
            try:
                await way()
                self.did[way.__name__] += 1
            except expected as error:
                self.did[f"{way.__name__}: {type(error).__name__}"] += 1
            except TamisClientError as error:
                self.wrong[f"{way.__name__}: {type(error).__name__}: {error}"] += 1

    async def search(self) -> None:
        async with self.client.search(self.text(), collection=COLLECTION, k=5) as events:
            async for _ in events:
                pass

    async def session(self) -> None:
        async with self.client.session() as session:
            timeouts = self.rng.choices((0.02, 10.0), (1, 4), k=4)
            await asyncio.gather(*(self._within(session, timeout) for timeout in timeouts))

    async def _within(self, session: AsyncSession, timeout: float) -> None:
        with suppress(*FULL):
            async with session.search(
                self.text(), collection=COLLECTION, timeout=timeout
            ) as events:
                async for _ in events:
                    if self.rng.random() < 0.1:
                        return  # leaving the block cancels it

    async def cancelled(self) -> None:
        search = asyncio.create_task(self.search())
        await asyncio.sleep(self.rng.uniform(0, 0.1))
        search.cancel()
        with suppress(asyncio.CancelledError, CallCancelledError):
            await search

    async def hurried(self) -> None:
        timeout = self.rng.uniform(0.001, 0.05)
        async with self.client.search(
            self.text(), collection=COLLECTION, timeout=timeout
        ) as events:
            async for _ in events:
                pass

    async def bad(self) -> None:
        match self.rng.randrange(3):
            case 0:
                await self.client.hits(self.text(), collection="nowhere")
            case 1:
                await self.client.hits(self.text(), collection=COLLECTION, k=1_000_000)
            case _:
                await self.client.hits(image=b"no picture", collection=COLLECTION)

    async def embedded(self) -> None:
        await self.client.embed("minilm", [self.text() for _ in range(8)])

    async def written(self) -> None:
        ids = [f"passing-{self.rng.randrange(64)}" for _ in range(4)]
        own = [Document(id=name, text=self.text()) for name in set(ids)]
        async for _ in self.client.upsert(COLLECTION, own):
            pass
        await self.client.delete(COLLECTION, ids)


async def measured(server: Watched) -> dict[str, float]:
    """What is watched, now."""
    sample = await server.sample()
    own = _status(server.served.process.pid)
    started, handled = "grpc_server_started_total", "grpc_server_handled_total"
    return {
        "server MiB": sample.total("process_resident_memory_bytes") / 2**20,
        "index MiB": sum(_resident_mib(pid) for pid in server.served.children()),
        "open files": sample.total("process_open_fds"),
        "threads": float(own["Threads"]),
        "calls": sample.total(started) - sample.total(handled),
        "queued": sample.total("tamis_queue_depth"),
    }


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _resident_mib(pid: int) -> float:
    return int(_status(pid)["VmRSS"].removesuffix(" kB")) / 2**10


async def soaked(server: Watched, seconds: float, callers: int) -> bool:
    """Runs the soak and prints what it found; whether all was well."""
    rows: list[dict[str, float]] = []
    async with AsyncClient(server.served.target, channels=2) as client:
        await client.create_collection(COLLECTION)
        async for _ in client.upsert(COLLECTION, documents()):
            pass
        soak, until = Soak(client), time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(soak.caller(until))
            while time.monotonic() < until:
                rows.append(await measured(server))
                await asyncio.sleep(max(0.5, seconds / 100))
    rest = await settled(server)
    print(f"{soak.did.total()} done: {dict(soak.did.most_common())}")
    for what, count in soak.wrong.most_common():
        print(f"wrong, {count} times: {what}")
    return shown(rows, rest) and not soak.wrong


async def settled(server: Watched) -> dict[str, float]:
    """What is left once the callers have gone."""
    until = time.monotonic() + SETTLE_S
    while True:
        rest = await measured(server)
        if not any(rest[name] for name in IDLE) or time.monotonic() > until:
            return rest
        await asyncio.sleep(0.2)


def shown(rows: list[dict[str, float]], rest: dict[str, float]) -> bool:
    """Prints how each figure went; whether none grew and nothing is left."""
    quarter, well = max(1, len(rows) // 4), True
    print(f"{'':12}{'first':>9}{'2nd quarter':>13}{'last quarter':>14}{'most':>9}{'after':>9}")
    for name in rest:
        values = [row[name] for row in rows]
        early = statistics.median(values[quarter : 2 * quarter])
        late = statistics.median(values[-quarter:])
        grows = name in ALLOWED and late - early > ALLOWED[name]
        left = name in IDLE and rest[name] > 0
        well = well and not grows and not left
        verdict = "GROWS" if grows else "LEFT" if left else ""
        print(
            f"{name:12}{values[0]:9.0f}{early:13.0f}{late:14.0f}{max(values):9.0f}"
            f"{rest[name]:9.0f}  {verdict}"
        )
    return well


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duration", type=float, default=120.0, help="seconds")
    parser.add_argument("--callers", type=int, default=8, help="at once")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder) / "data") as server:
        well = uvloop.run(soaked(server, given.duration, given.callers))
    print("nothing grows" if well else "NOT WELL")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
