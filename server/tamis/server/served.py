"""One encoder in service: behind a batcher, until its last caller has gone."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tamis.models.encoders import Encoder
from tamis.models.types import Content, Encoding, Side
from tamis.server.batcher import Batcher, Watch
from tamis.server.config import BatchSettings
from tamis.server.content import RawContent
from tamis.server.metrics import Metrics

# Encoders without weights take microseconds on a text of this cost: less than a change of threads.
CHEAP = 256

Job = tuple[Content, Side]


class ServedEncoder:
    """An encoder behind a batcher of its own.

    Whoever holds it may go on with it after another one has taken its name.
    """

    def __init__(
        self, name: str, encoder: Encoder, settings: BatchSettings, metrics: Metrics | None
    ) -> None:
        self.encoder = encoder
        self._batcher: Batcher[Job, Encoding] | None = _batcher(name, encoder, settings, metrics)
        self._stack = AsyncExitStack()
        self._running = 0
        self._idle = asyncio.Event()

    async def open(self) -> None:
        """Starts the batcher."""
        if self._batcher is not None:
            await self._stack.enter_async_context(self._batcher)

    async def encode(
        self,
        content: RawContent,
        side: Side,
        *,
        bulk: bool = False,
        deadline: float = math.inf,
        watch: Watch | None = None,
    ) -> Encoding:
        """What the encoder makes of one content. See `Batcher.submit`.

        Raises:
            ImageError: The content's image cannot be read.
            OverloadedError: The encoder has too much to do.
            DeadlineError: It could not be ready by `deadline`.
        """
        decoded = await content.decoded()
        if not self.encoder.runtime and self.encoder.cost(decoded) <= CHEAP:
            return self.encoder.encode([decoded], side)[0]
        if self._batcher is None:  # it has left, but the caller took it before
            return (await asyncio.to_thread(self.encoder.encode, [decoded], side))[0]
        self._running += 1
        try:
            return await self._batcher.submit(
                (decoded, side), bulk=bulk, deadline=deadline, watch=watch
            )
        finally:
            self._running -= 1
            self._idle.set()

    async def finish(self) -> None:
        """Lets the inputs that wait be encoded, then ends the batcher."""
        while self._running:
            self._idle.clear()
            await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Ends the batcher at once; inputs that wait are cancelled."""
        self._batcher = None
        await self._stack.aclose()


def _batcher(
    name: str, encoder: Encoder, settings: BatchSettings, metrics: Metrics | None
) -> Batcher[Job, Encoding]:
    def encode(jobs: Sequence[Job]) -> list[Encoding]:
        """A batch may hold both sides: they are encoded a side at a time."""
        done: dict[int, Encoding] = {}
        for side in Side:
            places = [i for i, (_, of) in enumerate(jobs) if of is side]
            if places:
                encodings = encoder.encode([jobs[i][0] for i in places], side)
                done |= dict(zip(places, encodings, strict=True))
        return [done[i] for i in range(len(jobs))]

    def cost(job: Job) -> int:
        return encoder.cost(job[0])

    return Batcher(encode, settings, name=name, cost=cost, metrics=metrics)
