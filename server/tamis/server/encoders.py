"""The server's encoders: each behind a batcher, queries through the cache."""

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tamis.models.encoders import Encoder
from tamis.models.errors import InputError
from tamis.models.types import Content, Encoding, Head, Query, Representation, Side
from tamis.server.batcher import Batcher
from tamis.server.cache.embeddings import EmbeddingCache, Policy, Source
from tamis.server.config import BatchSettings
from tamis.server.content import RawContent
from tamis.server.errors import NotFoundError
from tamis.server.metrics import Metrics
from tamis.server.tasks import together

# Encoders without weights take microseconds on a text of this cost: less than a change of threads.
CHEAP = 256
# Characters of a text whose tokens can be counted without a change of threads.
SHORT = 1_000
# Where several encoders worked for one query, the slowest source is the one to tell.
_SLOWEST = (Source.ENCODER, Source.COALESCED, Source.REDIS, Source.LOCAL)

Job = tuple[Content, Side]


class Encoders:
    """Encodes queries and documents. Use it as an async context manager."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        cache: EmbeddingCache,
        settings: BatchSettings,
        metrics: Metrics | None = None,
    ) -> None:
        self._encoders = dict(encoders)
        self._cache = cache
        self._batchers = {
            name: _batcher(name, encoder, settings, metrics)
            for name, encoder in self._encoders.items()
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for batcher in self._batchers.values():
            await self._stack.enter_async_context(batcher)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def names(self) -> Collection[str]:
        """The encoders' names in the settings."""
        return self._encoders.keys()

    def __getitem__(self, name: str) -> Encoder:
        """The encoder of that name.

        Raises:
            NotFoundError: There is none.
        """
        if name not in self._encoders:
            raise NotFoundError(f"encoder {name!r} is not one of: {', '.join(self._encoders)}")
        return self._encoders[name]

    @property
    def heads(self) -> dict[str, Head]:
        """Every head of every encoder, as `encoder.head`."""
        return {
            f"{name}.{head}": kind
            for name, encoder in self._encoders.items()
            for head, kind in encoder.heads.items()
        }

    async def query(
        self,
        content: RawContent,
        needed: Collection[str],
        *,
        policy: Policy = Policy.DEFAULT,
        bulk: bool = False,
        deadline: float = math.inf,
    ) -> tuple[Query, Source | None]:
        """The query with those of the `needed` representations that its modalities allow.

        Raises:
            ImageError: Its image cannot be read.
            OverloadedError: An encoder has too much to do.
            DeadlineError: An encoder could not be ready by `deadline`, on the event loop's clock.
        """
        names = sorted(
            name
            for name in {full.partition(".")[0] for full in needed}
            if self[name].modalities & content.modalities
        )
        digest = await content.digest(Side.QUERY)
        made = await together(
            *(
                self._remembered(name, content, digest, policy, bulk=bulk, deadline=deadline)
                for name in names
            )
        )
        found: dict[str, Representation] = {}
        sources = set()
        for name, (heads, source) in zip(names, made, strict=True):
            found |= {f"{name}.{head}": value for head, value in heads.items()}
            sources.add(source)
        # The pixels have done their work; those who read images are given them by name.
        seen = Content(text=content.text, instruction=content.instruction)
        return Query(seen, found), next((s for s in _SLOWEST if s in sources), None)

    def check(self, name: str, content: RawContent, *, where: str) -> None:
        """Refuses a content that the encoder cannot read.

        Raises:
            InputError: It has none of the encoder's modalities.
        """
        if not self[name].modalities & content.modalities:
            reads = " and ".join(sorted(self[name].modalities))
            raise InputError(f"{where}: {name} reads {reads}; this has none")

    async def truncating(self, content: RawContent, needed: Collection[str]) -> list[str]:
        """Those of the encoders behind `needed` that do not read the text to its end."""
        if content.text is None:
            return []
        text = Content(text=content.text)
        names = sorted({full.partition(".")[0] for full in needed})
        if len(content.text) <= SHORT:
            return [name for name in names if self[name].truncates(text)]
        return await asyncio.to_thread(
            lambda: [name for name in names if self[name].truncates(text)]
        )

    async def encode(
        self,
        name: str,
        content: RawContent,
        side: Side,
        *,
        bulk: bool = False,
        deadline: float = math.inf,
    ) -> Encoding:
        """What one encoder makes of one content. See `Batcher.submit`."""
        encoder = self[name]
        decoded = await content.decoded()
        if not encoder.runtime and encoder.cost(decoded) <= CHEAP:
            return encoder.encode([decoded], side)[0]
        return await self._batchers[name].submit((decoded, side), bulk=bulk, deadline=deadline)

    async def _remembered(
        self,
        name: str,
        content: RawContent,
        digest: str,
        policy: Policy,
        *,
        bulk: bool,
        deadline: float,
    ) -> tuple[Mapping[str, Representation], Source | None]:
        async def compute() -> Mapping[str, Representation]:
            made = await self.encode(name, content, Side.QUERY, bulk=bulk, deadline=deadline)
            return made.heads

        encoder = self[name]
        if not encoder.runtime:  # cheaper to make than to look up
            return await compute(), None
        return await self._cache.get_or_compute(
            self._cache.key(encoder.fingerprint, digest), compute, policy
        )


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
