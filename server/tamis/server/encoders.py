"""The server's encoders: each behind a batcher, queries through the cache."""

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self, cast

from tamis.models.encoders import Encoder, TokenEncoder, TokenStates
from tamis.models.errors import InputError, SettingsError
from tamis.models.types import Content, Encoding, Head, Query, Representation, Side
from tamis.server.batcher import Watch
from tamis.server.cache.embeddings import EmbeddingCache, Policy, Source
from tamis.server.config import BatchSettings
from tamis.server.content import RawContent
from tamis.server.errors import NotFoundError
from tamis.server.metrics import Metrics
from tamis.server.served import ServedEncoder
from tamis.server.tasks import together

# Characters of a text whose tokens can be counted without a change of threads.
SHORT = 1_000
# Where several encoders worked for one query, the slowest source is the one to tell.
_SLOWEST = (Source.ENCODER, Source.COALESCED, Source.REDIS, Source.LOCAL)


class Encoders:
    """Encodes queries and documents. Use it as an async context manager.

    `heads` and `fingerprints` are live: they follow what `put` and `remove` do.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        cache: EmbeddingCache,
        settings: BatchSettings,
        metrics: Metrics | None = None,
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._metrics = metrics
        self._served: dict[str, ServedEncoder] = {}
        self._heads: dict[str, Head] = {}
        self._fingerprints: dict[str, str] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        for name, encoder in encoders.items():
            self._add(name, encoder)

    async def __aenter__(self) -> Self:
        for served in self._served.values():
            await served.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for served in self._served.values():
            await served.close()
        await asyncio.gather(*self._leaving)

    async def put(self, name: str, encoder: Encoder) -> None:
        """Puts an encoder into service, in the place of the one of that name.

        From now on every call takes the new one; what the old one has begun it finishes.
        """
        old = self._served.get(name)
        await self._add(name, encoder).open()
        if old is not None:
            self._let_go(old)

    def remove(self, name: str) -> None:
        """Takes an encoder out of service; what it has begun it finishes.

        Raises:
            NotFoundError: There is none of that name.
        """
        old = self.served(name)
        del self._served[name], self._fingerprints[name]
        self._set_heads(name, {})
        self._let_go(old)

    @property
    def names(self) -> Collection[str]:
        """The encoders' names in the settings."""
        return self._served.keys()

    @property
    def heads(self) -> Mapping[str, Head]:
        """Every head of every encoder, as `encoder.head`."""
        return MappingProxyType(self._heads)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The encoders' fingerprints, by name."""
        return MappingProxyType(self._fingerprints)

    def __getitem__(self, name: str) -> Encoder:
        """The encoder of that name.

        Raises:
            NotFoundError: There is none.
        """
        return self.served(name).encoder

    def served(self, name: str) -> ServedEncoder:
        """The encoder of that name behind its batcher, for those who need the same one twice.

        Raises:
            NotFoundError: There is none.
        """
        if name not in self._served:
            raise NotFoundError(f"encoder {name!r} is not one of: {', '.join(self._served)}")
        return self._served[name]

    def token_encoder(self, name: str) -> TokenEncoder:
        """The encoder of that name as one of tokens: at each call, the one that serves then.

        Raises:
            NotFoundError: There is none.
            SettingsError: It does not give its tokens' states.
        """
        if not isinstance(self[name], TokenEncoder):
            raise SettingsError(f"{name!r} does not give its tokens' states")
        return CurrentTokens(self, name)

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
        return Query(seen, found), slowest(sources)

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
        watch: Watch | None = None,
    ) -> Encoding:
        """What one encoder makes of one content. See `Batcher.submit`."""
        return await self.served(name).encode(
            content, side, bulk=bulk, deadline=deadline, watch=watch
        )

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
        served = self.served(name)  # whose fingerprint is in the key must make the value

        async def compute() -> Mapping[str, Representation]:
            made = await served.encode(content, Side.QUERY, bulk=bulk, deadline=deadline)
            return made.heads

        if not served.encoder.runtime:  # cheaper to make than to look up
            return await compute(), None
        key = self._cache.key(served.encoder.fingerprint, digest)
        return await self._cache.get_or_compute(key, compute, policy, deadline=deadline)

    def _add(self, name: str, encoder: Encoder) -> ServedEncoder:
        served = ServedEncoder(name, encoder, self._settings, self._metrics)
        self._served[name] = served  # one step: threads may be asking for the name
        self._fingerprints[name] = encoder.fingerprint
        self._set_heads(name, encoder.heads)
        return served

    def _set_heads(self, name: str, heads: Mapping[str, Head]) -> None:
        new = {f"{name}.{head}": kind for head, kind in heads.items()}
        for full in [full for full in self._heads if full.partition(".")[0] == name]:
            if full not in new:
                del self._heads[full]
        self._heads |= new

    def _let_go(self, old: ServedEncoder) -> None:
        leaving = asyncio.create_task(old.finish())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


def slowest(sources: Iterable[Source | None]) -> Source | None:
    """Of where several representations came from, the one that took longest; None for nowhere."""
    there = set(sources)
    return next((source for source in _SLOWEST if source in there), None)


@dataclass(frozen=True, slots=True)
class CurrentTokens:
    """A `TokenEncoder` that asks whichever encoder has the name now."""

    encoders: Encoders
    name: str

    @property
    def max_tokens(self) -> int:
        return self._now().max_tokens

    def counts(self, texts: Sequence[str]) -> list[int]:
        return self._now().counts(texts)

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        return self._now().token_states(texts)

    def _now(self) -> TokenEncoder:
        # A name keeps its method, so what gave tokens' states still does.
        return cast(TokenEncoder, self.encoders[self.name])
