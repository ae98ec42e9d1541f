"""Contexts that a server keeps: named by a search, fetched by a client, read by a model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import tiny_models
import torch
from drawings import documents
from redis_server import RedisServer, redis_server

from tamis.client import (
    AsyncClient,
    Client,
    Document,
    InvalidRequestError,
    NotFoundError,
    Reason,
    Refined,
    Stage,
)
from tamis.models import catalog
from tamis.models.contexts.artefact import Artefact, Precisions
from tamis.models.contexts.frames import PIECE_BYTES
from tamis.models.contexts.key_values import KeyValues
from tamis.models.contexts.precision import Precision
from tamis.models.refiners import KVRefiner
from tamis.models.runtimes.hf.contexts import ContextModel
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.server.app import App, open_app
from tamis.server.cache.contexts import ContextCache
from tamis.server.config import (
    KeyValueSettings,
    MethodSettings,
    PipelineSettings,
    RefineSettings,
    RetrieveSettings,
    ServerSettings,
)
from tamis.server.serve import Server
from tamis.server.store_settings import StoreSettings
from tamis.v1 import context_pb2
from tamis.v1 import refine_service_pb2 as refine_pb
from tamis.v1 import server_service_pb2 as server_pb
from tamis.v1.refine_service_pb2_grpc import RefineServiceStub
from tamis.v1.server_service_pb2_grpc import ServerServiceStub

__all__ = ["redis_server"]

UNKNOWN = ContextCache.handle("f00d", 32 * "a")
TEXTS = [Document("fox", "the quick brown fox jumps"), Document("dog", "over the lazy dog")]


def test_a_search_may_leave_its_context_with_the_server(client: Client, drawings: str) -> None:
    wanted: dict[str, Any] = {"collection": drawings, "refine_budget": 20}
    found = {}
    for delivery in ("inline", "handle", "both"):
        with client.search("a red square", context_delivery=delivery, **wanted) as events:
            found[delivery] = events.final().context
            assert events.summary is not None
            assert events.summary.warnings == ()
    inline, handle, both = (found[name] for name in ("inline", "handle", "both"))
    assert inline is not None
    assert handle is not None
    assert both is not None
    assert (inline.handle, inline.expires) == (None, None)
    assert handle.parts == ()
    assert handle.handle == both.handle, "equal contexts are one"
    assert (handle.tokens_before, handle.tokens_after) == (
        inline.tokens_before,
        inline.tokens_after,
    )
    assert handle.expires is not None
    assert 3_000 < (handle.expires - datetime.now(UTC)).total_seconds() <= 3_600
    fetched = client.get_context(handle.handle or "")
    assert fetched.parts == both.parts == inline.parts


async def test_the_caller_s_own_documents_may_be_left_too(served: Any) -> None:
    async with AsyncClient(served.target) as client:
        refined = await client.refine(None, documents()[:2], budget=10, context_delivery="both")
        assert refined.warnings == ()
        fetched = await client.get_context(refined.context.handle or "")
        assert fetched.parts == refined.context.parts
        with pytest.raises(NotFoundError, match=r"has expired, or its context was evicted"):
            await client.get_context(UNKNOWN)
        with pytest.raises(InvalidRequestError, match=r"handle: 'x' is not one that"):
            await client.get_context("x")


def settings_of(tmp_path: Path, url: str, **more: Any) -> ServerSettings:
    """Texts by their words, then read by a language model of a few kilobytes."""
    model = tmp_path / "llama"
    if not model.exists():
        tiny_models.llama(model)
    key_values = KeyValueSettings(
        method="keydiff", settings={"ratio": 0.5}, model=str(model), values="float8_e4m3"
    )
    refine = RefineSettings(**{"key_values": key_values, "context_ttl_s": 60, **more})
    retrieve = RetrieveSettings(method="bm25", settings={"vector": "bm25.terms"})
    plain = ServerSettings(
        listen="127.0.0.1:0",
        encoders={"bm25": MethodSettings(method="bm25")},
        pipelines={"default": PipelineSettings(retrieve=retrieve, refine=refine)},
        store=StoreSettings(folder=str(tmp_path / "data")),
    )
    patient = replace(plain.cache, redis_url=url, context_timeout_ms=5_000.0, redis_timeout_ms=2e3)
    return replace(plain, cache=patient)


@asynccontextmanager
async def opened(settings: ServerSettings) -> AsyncIterator[tuple[App, AsyncClient]]:
    async with (
        open_app(settings) as app,
        Server(app) as server,
        AsyncClient(f"127.0.0.1:{server.port}") as client,
    ):
        yield app, client


class Spy:
    """Counts what the model reads, and lets it read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        write = ContextModel.write

        def counting(model: ContextModel, text: str, *rest: Any) -> Artefact:
            self.texts.append(text)
            return write(model, text, *rest)

        monkeypatch.setattr(ContextModel, "write", counting)


def logits(model: ContextModel, artefact: Artefact) -> torch.Tensor:
    """What the model says of the next tokens, and of those after an answer's first two."""
    answer = torch.tensor([[7, 70, 17]])
    network: Any = model._network
    found: torch.Tensor = network(answer, past_key_values=model.resume(artefact)).logits
    return found


async def test_a_model_goes_on_from_what_another_process_has_read(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    settings = settings_of(tmp_path, redis_server.url)
    async with opened(settings) as (_, client):
        first = await client.refine(None, TEXTS, context_delivery="handle")
        assert (first.warnings, first.failures, first.context.parts) == ((), (), ())
        assert first.context.tokens_after == first.context.tokens_before // 2
        await client.upsert("c", TEXTS).final()
    async with opened(replace(settings, store=StoreSettings(folder=str(tmp_path / "2")))) as (
        app,
        client,
    ):
        again = await client.refine(None, TEXTS, context_delivery="both")
        assert spy.texts == ["the quick brown fox jumps\n\nover the lazy dog"], "it was read once"
        assert again.context.handle == first.context.handle
        fetched = await client.get_context(first.context.handle or "")
        assert fetched.parts == again.context.parts
        (tier,) = (tier for tier in app.contexts.stats() if tier.kind == "context")
        assert (tier.hits, tier.errors) == (2, 0)
    (part,) = fetched.parts
    assert part.method == "keydiff"
    assert part.key_values is not None
    assert part.key_values.document_ids == ("fox", "dog")

    model = ContextModel(Checkpoint(model=str(tmp_path / "llama"), device="cpu"))
    press = catalog.load(KVRefiner, "keydiff", {"ratio": 0.5})
    own = model.write(spy.texts[0], press)
    stored = Artefact.from_bytes(own.to_bytes(Precisions(values=Precision.FLOAT8)))
    there = Artefact.from_bytes(part.key_values.artefact)
    assert isinstance(there.payload, KeyValues)
    assert len(there.provenance.documents) == 2
    assert there.provenance.settings == {"ratio": 0.5}
    torch.testing.assert_close(logits(model, there), logits(model, stored), rtol=0, atol=0)


async def test_a_search_s_texts_are_read_once_and_only_once_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    async with opened(settings_of(tmp_path, "")) as (_, client):
        await client.upsert("c", TEXTS).final()
        found = []
        for words in ("a fox", "fox", "a dog"):
            async with client.search(words, collection="c", context_delivery="handle") as events:
                found.append((await events.final()).context)
        assert [context and context.handle for context in found[:2]] == 2 * [found[0].handle]  # type: ignore[union-attr]
        assert sorted(spy.texts) == ["over the lazy dog", "the quick brown fox jumps"]
        async with client.search("fox", collection="c", cache_policy="refresh") as events:
            assert (await events.final()).method == "keydiff"
        assert len(spy.texts) == 3
        await client.upsert("c", [Document("long", "wolf " * 300)]).final()
        async with client.search("wolf", collection="c") as events:
            assert [hit.document_id for hit in (await events.final()).hits] == ["long"]
            assert "the model reads from 1 to 256" in events.skipped[Stage.REFINE].message


async def test_a_large_context_comes_in_frames_and_a_purge_takes_it(tmp_path: Path) -> None:
    cache = context_pb2.KeyValueCache(document_ids=["d"], artefact=bytes(2 * PIECE_BYTES + 5))
    part = context_pb2.ContextPart(method="keydiff", key_values=cache)
    data = context_pb2.Context(parts=[part]).SerializeToString()
    async with opened(settings_of(tmp_path, "")) as (app, client):
        await app.contexts.keep(UNKNOWN, data, 60)
        (fetched,) = (await client.get_context(UNKNOWN)).parts
        assert fetched.key_values is not None
        assert fetched.key_values.artefact == cache.artefact
        handle = (await client.refine(None, TEXTS, context_delivery="handle")).context.handle or ""
        fingerprint = handle.partition(":")[0]
        async with grpc.aio.insecure_channel(client.target) as channel:
            get: Any = RefineServiceStub(channel).GetContext
            asking = get(refine_pb.GetContextRequest(handle=UNKNOWN))
            responses = [response async for response in asking]
            stub: Any = ServerServiceStub(channel)
            stats = await stub.GetCacheStats(server_pb.GetCacheStatsRequest())
            held = {(tier.tier, tier.kind): tier.bytes for tier in stats.tiers}
            assert held["local", "context"] > 0
            asked = server_pb.PurgeCacheRequest(fingerprint=fingerprint)
            assert (await stub.PurgeCache(asked)).removed == 1
        with pytest.raises(NotFoundError):
            await client.get_context(handle)
        await client.get_context(UNKNOWN)  # another model's
    assert [len(response.frame) for response in responses[:2]] == [PIECE_BYTES, PIECE_BYTES]
    assert [response.last for response in responses] == [False, False, True]


async def test_with_redis_broken_the_context_comes_whole(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    settings = settings_of(tmp_path, redis_server.url)
    hasty = replace(settings.cache, context_timeout_ms=200.0, redis_timeout_ms=5.0)
    async with opened(replace(settings, cache=hasty)) as (app, client):
        await client.upsert("c", TEXTS).final()
        redis_server.command("CONFIG", "SET", "maxmemory", "1")
        await whole(client, "full")
        redis_server.freeze()
        for number in range(4):  # before its breaker opens, and after
            await whole(client, f"frozen {number}")
        redis_server.thaw()
        redis_server.stop()
        await whole(client, "killed")
        assert app.contexts.stats()[0].errors > 0


async def whole(client: AsyncClient, why: str) -> None:
    """Checks that a search and a refinement answer in time, and say that nothing was kept."""
    async with client.search(
        f"fox dog {why}", collection="c", context_delivery="handle", timeout=5
    ) as events:
        context = (await events.final()).context
    assert context is not None, why
    assert context.parts
    assert context.handle is None
    assert events.summary is not None
    (warning,) = events.summary.warnings
    assert warning.reason is Reason.UNAVAILABLE
    assert "Redis, which keeps the contexts" in warning.message
    refined: Refined = await client.refine(None, TEXTS, context_delivery="both", timeout=5)
    assert refined.context.parts
    assert [warning.reason for warning in refined.warnings] == [Reason.UNAVAILABLE]
