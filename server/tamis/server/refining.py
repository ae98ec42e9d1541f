"""The last stage: turns the best documents into context."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tamis.models.refiners import TextRefiner, VisualRefiner
from tamis.models.types import Query, Side
from tamis.server.collections import Collections
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.pace import Pace
from tamis.server.search import Context, ContextPart, Search
from tamis.server.stages import depth_of, query_of
from tamis.server.tasks import together
from tamis.v1 import stage_pb2 as pb


@dataclass(frozen=True, slots=True)
class Refine:
    """Turns the best documents into context: fewer visual tokens, fewer sentences."""

    visual: VisualRefiner | None
    visual_name: str
    text: TextRefiner | None
    text_name: str
    encoder: str
    encoders: Encoders
    collections: Collections
    depth: int
    pace: Pace = field(default_factory=Pace)

    @property
    def kind(self) -> pb.Stage.ValueType:
        return pb.STAGE_REFINE

    @property
    def method(self) -> str:
        return "+".join(name for name in (self.visual_name, self.text_name) if name) or "identity"

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
            image = await self.collections.image(search.collection, payload)
            documents.append((payload["id"], RawContent(payload.get("text"), image)))
        started = time.perf_counter()
        context = await self.refined(query, documents, budget=search.options.refine_budget)
        search.clock.model_s += time.perf_counter() - started
        return replace(search, context=context)

    async def refined(
        self, query: Query, documents: Sequence[tuple[str, RawContent]], *, budget: int | None
    ) -> Context:
        """The context of these documents, best first."""
        return Context.joined(
            await together(
                *(self._document(query, name, content, budget) for name, content in documents)
            )
        )

    async def _document(
        self, query: Query, name: str, content: RawContent, budget: int | None
    ) -> Context:
        parts, before, after = [], 0, 0
        if content.image is not None and self.visual is not None:
            image = replace(content, text=None, _decoding=[])
            encoding = await self.encoders.encode(self.encoder, image, Side.DOCUMENT)
            if encoding.visual is not None:
                refiner = replace(self.visual, budget=budget) if budget else self.visual
                kept = await asyncio.to_thread(refiner.refine, encoding.visual)
                fingerprint = self.encoders[self.encoder].fingerprint
                parts.append(
                    ContextPart(name, self.visual_name, visual=kept, fingerprint=fingerprint)
                )
                before, after = before + len(encoding.visual), after + len(kept)
        if content.text is not None:
            kept_text, method = content.text, "identity"
            count = _words
            if self.text is not None:
                count, method = self.text.count, self.text_name
                kept_text = await asyncio.to_thread(self.text.refine, query, content.text)
            parts.append(ContextPart(name, method, text=kept_text))
            before, after = before + count(content.text), after + count(kept_text)
        return Context(tuple(parts), before, after)


def _words(text: str) -> int:
    return len(text.split())
