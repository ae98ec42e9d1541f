"""The last stage: turns the best documents into context."""

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass, field, replace

from tamis.models.errors import InputError, TamisError
from tamis.models.refiners import TextRefiner, VisualRefiner
from tamis.models.types import Query, Side
from tamis.server import messages
from tamis.server.cache import ContextsUnavailableError
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import Policy
from tamis.server.collections import Collections
from tamis.server.config import Limits
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.pace import Pace
from tamis.server.prefilling import KeyValueRefiner
from tamis.server.search import Context, ContextPart, Delivery, Search
from tamis.server.stages import depth_of, query_of
from tamis.server.tasks import together
from tamis.v1 import stage_pb2 as pb

ROOM_BYTES = 1 << 20  # of a message, for hits and for what describes the context's parts


@dataclass(frozen=True, slots=True)
class Refine:
    """Turns the best documents into context: fewer visual tokens, fewer sentences, a cache.

    Attributes:
        ttl_s: How long a context is kept under its handle, in seconds.
        max_bytes: Of a context that is sent whole, so that it fits in a message.
    """

    visual: VisualRefiner | None
    visual_name: str
    text: TextRefiner | None
    text_name: str
    encoder: str
    encoders: Encoders
    collections: Collections
    depth: int
    contexts: ContextCache
    ttl_s: int
    max_bytes: int = Limits().max_message_bytes
    key_values: KeyValueRefiner | None = None
    pace: Pace = field(default_factory=Pace)

    @property
    def kind(self) -> pb.Stage.ValueType:
        return pb.STAGE_REFINE

    @property
    def method(self) -> str:
        names = [self.visual_name, self.text_name, self.key_values.name if self.key_values else ""]
        return "+".join(filter(None, names)) or "identity"

    def time_s(self, search: Search) -> float | None:
        return search.options.refine_time_s

    def size(self, search: Search) -> int:
        return min(depth_of(search.options.refine_depth, self.depth), len(search.candidates))

    def shortened(self, search: Search, size: int) -> Search | None:
        if not size:
            return None
        return replace(search, options=replace(search.options, refine_depth=size))

    async def __call__(self, search: Search) -> Search:
        query = query_of(search, depth_of(search.options.refine_depth, self.depth))
        head = search.candidates[: self.size(search)]
        payloads = [search.payloads[candidate.document_id] for candidate in head]
        documents = []
        for payload in payloads:
            image = await self.collections.documents.image(search.collection, payload)
            documents.append((payload["id"], RawContent(payload.get("text"), image)))
        options, started = search.options, time.perf_counter()
        budget = options.refine_budget
        parts = await together(*(self.document(query, *d, budget=budget) for d in documents))
        context = await self.read(Context.joined(parts), options.policy)
        search.clock.model_s += time.perf_counter() - started
        context, warnings = await self.delivered(
            context, options.delivery, deadline=search.clock.deadline
        )
        return replace(search, context=context, warnings=(*search.warnings, *warnings))

    async def document(
        self, query: Query, name: str, content: RawContent, *, budget: int | None
    ) -> Context:
        """The context of one document."""
        parts, before, after = [], 0, 0
        if content.image is not None and self.visual is not None:
            image = replace(content, text=None, _decoding=[])
            encoding = await self.encoders.encode(self.encoder, image, Side.DOCUMENT)
            if encoding.visual is not None:
                refiner = replace(self.visual, budget=budget) if budget else self.visual
                kept = await asyncio.to_thread(refiner.refine, encoding.visual)
                fingerprint = self.encoders[self.encoder].fingerprint
                parts.append(
                    ContextPart((name,), self.visual_name, visual=kept, fingerprint=fingerprint)
                )
                before, after = before + len(encoding.visual), after + len(kept)
        if content.text is not None:
            kept_text, method = content.text, "identity"
            count = _words
            if self.text is not None:
                count, method = self.text.count, self.text_name
                kept_text = await asyncio.to_thread(self.text.refine, query, content.text)
            parts.append(ContextPart((name,), method, text=kept_text))
            before, after = before + count(content.text), after + count(kept_text)
        return Context(tuple(parts), before, after)

    async def read(self, context: Context, policy: Policy = Policy.DEFAULT) -> Context:
        """The context as the language model that is to go on from it has read it, if there is one.

        Raises:
            InputError: It is longer than the model reads.
        """
        if self.key_values is None:
            return context
        return await self.key_values.read(context, policy)

    async def delivered(
        self, context: Context, delivery: Delivery, *, deadline: float = math.inf
    ) -> tuple[Context, tuple[TamisError, ...]]:
        """The context as the caller wants it, and what the caller should know.

        It is kept before its handle is named; where it cannot be, or not in time, it comes whole.

        Args:
            context: What was made.
            delivery: Whether it is to be kept, and whether it is to be sent.
            deadline: On the event loop's clock.

        Raises:
            InputError: It must be sent whole, and is too large for a message.
        """
        if delivery is Delivery.INLINE or not context.parts:
            return self._whole(context), ()
        data = messages.context(replace(context, handle="")).SerializeToString(deterministic=True)
        handle = context.handle or self.contexts.handle(_maker(context), _digest(data))
        now = asyncio.get_running_loop().time()
        try:
            # The rest is for the answer, which must not be lost for want of a handle.
            async with asyncio.timeout(None if deadline == math.inf else (deadline - now) / 2):
                expires = await self.contexts.keep(handle, data, self.ttl_s)
        except ContextsUnavailableError as error:
            return self._whole(context), (error,)
        except TimeoutError:
            late = ContextsUnavailableError("there was no time left to keep the context")
            return self._whole(context), (late,)
        named = replace(context, handle=handle, expires=expires)
        if delivery is Delivery.HANDLE:
            return replace(named, parts=()), ()
        self._whole(context)
        return named, ()

    def _whole(self, context: Context) -> Context:
        """The context without a handle.

        Raises:
            InputError: It is too large for a message.
        """
        size = sum(part.nbytes for part in context.parts)
        if size > self.max_bytes - ROOM_BYTES:
            raise InputError(
                f"context_delivery: the context has {size} bytes, and a message at most "
                f"{self.max_bytes}: ask for a handle alone"
            )
        return replace(context, handle="")


def _maker(context: Context) -> str:
    """The fingerprint under which a context can be purged: texts are nobody's."""
    return next((part.fingerprint for part in context.parts if part.fingerprint), "text")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _words(text: str) -> int:
    return len(text.split())
