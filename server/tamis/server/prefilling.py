"""Texts as what a language model remembers of them, read once for all who ask."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from tamis.models.contexts.artefact import Artefact, Precisions
from tamis.models.contexts.key_values import KeyValues, PositionMode
from tamis.models.contexts.writer import ContextWriter
from tamis.models.errors import ModelError
from tamis.models.refiners import KVRefiner
from tamis.models.types import Side
from tamis.server import messages
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import Policy
from tamis.server.cache.keys import content_digest
from tamis.server.search import Context, ContextPart
from tamis.v1 import context_pb2

BETWEEN = "\n\n"  # of two documents' texts, as the model reads them


@dataclass(frozen=True, slots=True)
class KeyValueRefiner:
    """Lets a language model read a context's texts, and keeps what a press leaves of its cache.

    The result depends on the texts, the model and the press alone: it is kept under a handle made
    of these, in every process that shares a Redis, and the second to ask computes nothing.

    Attributes:
        name: The press's.
        press: Which tokens stay.
        writer: The language model.
        precisions: How numbers are stored.
        mode: Where the keys are turned to.
        contexts: Where the result is kept.
        ttl_s: How long, in seconds.
    """

    name: str
    press: KVRefiner
    writer: ContextWriter
    precisions: Precisions
    mode: PositionMode
    contexts: ContextCache
    ttl_s: int

    async def read(self, context: Context, policy: Policy) -> Context:
        """One part in place of the texts, in tokens of the model; it names the handle it has.

        Raises:
            InputError: The texts are longer than the model reads.
        """
        read = [part for part in context.parts if part.text]
        if not read:
            return context
        texts = [part.text or "" for part in read]
        ids = [name for part in read for name in part.document_ids]
        digests = [content_digest(side=Side.DOCUMENT, text=text) for text in texts]
        handle = self.contexts.handle(self.writer.fingerprint, self._digest(ids, digests))

        async def compute() -> bytes:
            return await asyncio.to_thread(self._written, ids, texts, digests)

        data = await self.contexts.get_or_compute(handle, compute, policy, ttl_s=self.ttl_s)
        return replace(self._context(data), handle=handle)

    def _written(self, ids: Sequence[str], texts: Sequence[str], digests: Sequence[str]) -> bytes:
        """A context of one part, as a message's bytes."""
        made = self.writer.write(BETWEEN.join(texts), self.press, digests)
        if not isinstance(made.payload, KeyValues):
            raise ModelError(f"{self.name}: what the model wrote is no key-value cache")
        cache = self._moved(made.payload)
        artefact = Artefact(cache, made.provenance).to_bytes(self.precisions)
        part = ContextPart(tuple(ids), self.name, key_values=artefact)
        whole = Context((part,), tokens_before=cache.tokens, tokens_after=cache.kept)
        return messages.context(whole).SerializeToString(deterministic=True)

    def _moved(self, cache: KeyValues) -> KeyValues:
        match self.mode:
            case PositionMode.SHIFTED:
                return cache.shifted()
            case PositionMode.PACKED:
                return cache.packed()
            case PositionMode.ORIGINAL:
                return cache

    def _context(self, data: bytes) -> Context:
        message = context_pb2.Context.FromString(data)
        parts = tuple(
            ContextPart(
                tuple(part.key_values.document_ids),
                part.method,
                key_values=part.key_values.artefact,
                fingerprint=self.writer.fingerprint,
            )
            for part in message.parts
        )
        return Context(parts, message.tokens_before, message.tokens_after)

    def _digest(self, ids: Sequence[str], digests: Sequence[str]) -> str:
        """32 hex digits of all, beside the model, that the result depends on."""
        facts = [self.name, asdict(self.press), asdict(self.precisions), self.mode, ids, digests]
        return hashlib.blake2b(
            json.dumps(facts, sort_keys=True).encode(), digest_size=16
        ).hexdigest()
