"""The refine stage: how its context is delivered, and what a kept cache depends on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from redis_server import RedisServer, redis_server

from tamis.models.contexts.artefact import Artefact, Precisions
from tamis.models.contexts.key_values import KeptLayer, KeyValues, PositionMode
from tamis.models.contexts.precision import Precision
from tamis.models.contexts.writer import ContextWriter
from tamis.models.errors import InputError, SettingsError
from tamis.models.refiners import KVRefiner
from tamis.models.refiners.keydiff import KeyDiff
from tamis.models.refiners.knorm import Knorm
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.settings import build
from tamis.server.cache import ContextsUnavailableError
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import Policy
from tamis.server.cache.settings import CacheSettings
from tamis.server.config import KeyValueSettings, MethodSettings, RefineSettings
from tamis.server.loading import open_refine
from tamis.server.prefilling import KeyValueRefiner
from tamis.server.refining import Refine
from tamis.server.search import Context, ContextPart, Delivery
from tamis.v1 import context_pb2

__all__ = ["redis_server"]

TEXTS = Context((ContextPart(("a",), "identity", text="red kite"),), 2, 2)


@dataclass
class Writer:
    """A language model that remembers every character, as itself."""

    fingerprint: str = "f00d"
    texts: list[str] = field(default_factory=list)

    def write(self, text: str, press: KVRefiner, documents: Sequence[str] = ()) -> Artefact:
        self.texts.append(text)
        if "!" in text:
            raise InputError("longer than the model reads")
        numbers = np.array([*text.encode()], np.float32)[None, :, None].repeat(2, axis=2)
        positions = np.arange(len(text))[None]
        layer = KeptLayer(numbers, numbers, positions, np.ones(1, np.float32))
        return Artefact(KeyValues((layer,), len(text)))


def stage(contexts: ContextCache, key_values: KeyValueRefiner | None = None) -> Refine:
    """Of texts alone, which needs no encoders and no collections."""
    nothing = cast(Any, None)
    return Refine(
        visual=None,
        visual_name="",
        text=None,
        text_name="",
        encoder="",
        encoders=nothing,
        collections=nothing,
        depth=3,
        contexts=contexts,
        ttl_s=60,
        key_values=key_values,
    )


def reader(contexts: ContextCache, writer: Writer) -> KeyValueRefiner:
    return KeyValueRefiner(
        name="keydiff",
        press=KeyDiff(),
        writer=writer,
        precisions=Precisions(),
        mode=PositionMode.ORIGINAL,
        contexts=contexts,
        ttl_s=60,
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"method": "nosuch", "model": "m"}, r"'nosuch' is not one of: .*keydiff"),
        ({"method": "keydiff"}, r"key_values\.model: missing"),
        ({"method": "keydiff", "model": "m", "values": "int4"}, r"values must be one of .*int8"),
        ({"method": "keydiff", "model": "m", "positions": "here"}, r"positions must be one of"),
        ({"method": "gprune", "model": "m"}, r"gprune"),
    ],
)
def test_settings_of_a_language_model_that_do_not_fit_say_which(
    table: dict[str, Any], message: str
) -> None:
    nothing, opener = cast(Any, None), ModelOpener()
    with pytest.raises(SettingsError, match=message):
        open_refine(
            build(RefineSettings, {"key_values": table}, where="refine"),
            "refine",
            nothing,
            nothing,
            nothing,
            opener.openers[ContextWriter],
            max_bytes=1,
        )


def test_one_model_reads_a_context() -> None:
    visual = MethodSettings(method="uniform")
    key_values = KeyValueSettings(method="keydiff", model="m")
    with pytest.raises(ValueError, match="visual tokens or key_values: one model reads it"):
        RefineSettings(visual=visual, encoder="eye", key_values=key_values)


async def test_a_context_is_delivered_as_it_is_asked_for() -> None:
    contexts = ContextCache(CacheSettings())
    refine = stage(contexts)
    assert await refine.delivered(TEXTS, Delivery.INLINE) == (TEXTS, ())
    handle, _ = await refine.delivered(TEXTS, Delivery.HANDLE)
    both, warnings = await refine.delivered(TEXTS, Delivery.BOTH)
    assert (handle.parts, both.parts, warnings) == ((), TEXTS.parts, ())
    assert handle.handle == both.handle
    assert handle.handle.startswith("text:")
    kept = context_pb2.Context.FromString(await contexts.fetch(handle.handle))
    assert [part.text for part in kept.parts] == ["red kite"]
    assert await refine.delivered(Context(), Delivery.HANDLE) == (Context(), ())


async def test_a_context_too_large_for_a_message_needs_a_handle() -> None:
    refine = replace(stage(ContextCache(CacheSettings())), max_bytes=(1 << 20) + 4)
    for delivery in (Delivery.INLINE, Delivery.BOTH):
        with pytest.raises(InputError, match=r"context has 8 bytes, .*: ask for a handle alone"):
            await refine.delivered(TEXTS, delivery)
    named, _ = await refine.delivered(TEXTS, Delivery.HANDLE)
    assert named.handle


async def test_a_context_that_is_not_kept_in_time_comes_whole(redis_server: RedisServer) -> None:
    settings = CacheSettings(redis_url=redis_server.url, context_timeout_ms=10_000)
    contexts = ContextCache(settings)
    await contexts.warm_up()
    redis_server.freeze()
    now = asyncio.get_running_loop().time()
    refining = stage(contexts).delivered(TEXTS, Delivery.HANDLE, deadline=now + 0.2)
    context, (warning,) = await asyncio.wait_for(refining, 2)
    assert context == TEXTS
    assert isinstance(warning, ContextsUnavailableError)
    assert str(warning) == "there was no time left to keep the context"
    redis_server.thaw()
    await contexts.close()


async def test_texts_are_read_together_and_once() -> None:
    contexts, writer = ContextCache(CacheSettings()), Writer()
    refine = stage(contexts, reader(contexts, writer))
    two = Context.joined([TEXTS, Context((ContextPart(("b",), "identity", text="blue"),), 1, 1)])
    read = await refine.read(two)
    assert await refine.read(two) == read
    assert writer.texts == ["red kite\n\nblue"]
    (part,) = read.parts
    assert (part.document_ids, part.method, part.fingerprint) == (("a", "b"), "keydiff", "f00d")
    assert (read.tokens_before, read.tokens_after) == (14, 14)
    delivered, _ = await refine.delivered(read, Delivery.HANDLE)
    assert delivered.handle == read.handle
    assert delivered.handle.startswith("f00d:")
    assert (await refine.delivered(read, Delivery.INLINE))[0].handle == ""
    assert await refine.read(Context()) == Context()
    with pytest.raises(InputError, match="longer than the model reads"):
        await refine.read(Context((ContextPart(("c",), "identity", text="!"),)))


async def test_a_handle_names_all_that_the_cache_depends_on() -> None:
    contexts, writer = ContextCache(CacheSettings()), Writer()
    first = reader(contexts, writer)
    other_text = Context((ContextPart(("a",), "identity", text="red kites"),), 2, 2)
    other_id = Context((ContextPart(("b",), "identity", text="red kite"),), 2, 2)
    changed = [
        replace(first, press=KeyDiff(ratio=0.25)),
        replace(first, press=Knorm(), name="knorm"),
        replace(first, precisions=Precisions(values=Precision.FLOAT8)),
        replace(first, mode=PositionMode.SHIFTED),
        replace(first, writer=Writer("beef")),
    ]
    reads = [one.read(TEXTS, Policy.DEFAULT) for one in (first, *changed)]
    reads += [first.read(one, Policy.DEFAULT) for one in (other_text, other_id)]
    handles = [(await one).handle for one in reads]
    assert len({*handles}) == len(handles)
