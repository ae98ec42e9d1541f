"""Encoders in service: one takes another's place while calls go on."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from tamis.models.encoders import Encoder, TokenEncoder, TokenStates
from tamis.models.errors import SettingsError
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side
from tamis.server.cache.embeddings import EmbeddingCache, Source
from tamis.server.cache.settings import CacheSettings
from tamis.server.config import BatchSettings
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.errors import NotFoundError

TEXT = RawContent("a")


@dataclass(frozen=True, kw_only=True)
class Numbered(Encoder):
    """Says its own number of every text; a closed gate stops it in the middle of a batch."""

    checked: ClassVar = "by definition"
    modalities: ClassVar = frozenset({Modality.TEXT})

    number: int = 1
    head: str = "dense"
    gate: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def heads(self) -> Mapping[str, Head]:
        return {self.head: Head(Kind.DENSE, 1, "numbers")}

    @property
    def fingerprint(self) -> str:
        return f"n{self.number}"

    @property
    def runtime(self) -> str:
        return "a thread"

    @property
    def max_tokens(self) -> int:
        return self.number

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.number] * len(texts)

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        return [TokenStates(np.full((1, 1), self.number, np.float32), np.zeros((1, 2), int))]

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        assert self.gate.wait(10)
        row = np.array([self.number], np.float32)
        return [Encoding({self.head: row}) for _ in contents]


def opened(number: int, head: str = "dense") -> Numbered:
    encoder = Numbered(number=number, head=head)
    encoder.gate.set()
    return encoder


@pytest.fixture
async def cache() -> AsyncIterator[EmbeddingCache]:
    cache = EmbeddingCache(CacheSettings())
    yield cache
    await cache.close()


def said(encoding: Encoding) -> int:
    (row,) = encoding.heads.values()
    assert isinstance(row, np.ndarray)
    return int(row[0])


async def test_what_the_old_one_has_begun_it_finishes(cache: EmbeddingCache) -> None:
    old = Numbered()
    async with Encoders({"n": old}, cache, BatchSettings(max_size=4)) as encoders:
        before = [asyncio.create_task(encoders.encode("n", TEXT, Side.QUERY)) for _ in range(10)]
        await asyncio.sleep(0)
        await encoders.put("n", opened(2))
        assert said(await encoders.encode("n", TEXT, Side.QUERY)) == 2
        assert not any(task.done() for task in before)
        old.gate.set()
        assert [said(encoding) for encoding in await asyncio.gather(*before)] == [1] * 10


async def test_the_old_one_is_freed_when_its_last_caller_has_gone(cache: EmbeddingCache) -> None:
    old = Numbered()
    watched = weakref.ref(old)
    async with Encoders({"n": old}, cache, BatchSettings()) as encoders:
        call = asyncio.create_task(encoders.encode("n", TEXT, Side.QUERY))
        await asyncio.sleep(0)
        await encoders.put("n", opened(2))
        old.gate.set()
        del old
        await call
        del call
        for _ in range(5):  # the batcher's task and thread end
            await asyncio.sleep(0.01)
        gc.collect()
        assert watched() is None


async def test_who_holds_one_that_has_left_may_go_on(cache: EmbeddingCache) -> None:
    async with Encoders({"n": opened(1)}, cache, BatchSettings()) as encoders:
        held = encoders.served("n")
        await encoders.put("n", opened(2))
        await asyncio.sleep(0.01)
        assert said(await held.encode(TEXT, Side.QUERY)) == 1


async def test_a_query_that_one_remembered_is_not_another_s(cache: EmbeddingCache) -> None:
    async with Encoders({"n": opened(1)}, cache, BatchSettings()) as encoders:
        await encoders.query(TEXT, ["n.dense"])
        _, source = await encoders.query(TEXT, ["n.dense"])
        assert source is Source.LOCAL
        await encoders.put("n", opened(2))
        query, source = await encoders.query(TEXT, ["n.dense"])
        assert source is Source.ENCODER
        assert query.representations["n.dense"] == [2]


async def test_heads_and_fingerprints_follow(cache: EmbeddingCache) -> None:
    async with Encoders({"n": opened(1), "m": opened(5)}, cache, BatchSettings()) as encoders:
        heads, fingerprints = encoders.heads, encoders.fingerprints
        await encoders.put("n", opened(2, head="other"))
        assert set(heads) == {"m.dense", "n.other"}
        assert fingerprints == {"m": "n5", "n": "n2"}
        encoders.remove("n")
        assert (set(heads), fingerprints) == ({"m.dense"}, {"m": "n5"})
        with pytest.raises(NotFoundError, match="encoder 'n' is not one of: m"):
            await encoders.encode("n", TEXT, Side.QUERY)


async def test_tokens_are_those_of_whoever_serves(cache: EmbeddingCache) -> None:
    async with Encoders({"n": opened(1)}, cache, BatchSettings()) as encoders:
        tokens = encoders.token_encoder("n")
        assert isinstance(tokens, TokenEncoder)
        await encoders.put("n", opened(2))
        assert (tokens.max_tokens, tokens.counts(["a"])) == (2, [2])
        assert tokens.token_states(["a"])[0].states == [[2]]


async def test_not_every_encoder_gives_tokens(cache: EmbeddingCache) -> None:
    from tamis.models.encoders.bm25 import BM25

    async with Encoders({"b": BM25()}, cache, BatchSettings()) as encoders:
        with pytest.raises(SettingsError, match="'b' does not give its tokens' states"):
            encoders.token_encoder("b")
