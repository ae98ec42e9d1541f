"""The second stage: orders the best candidates again."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qdrant_client import models

from tamis.models.errors import ImageError
from tamis.models.rerankers import Ranking, Reranker
from tamis.models.retrievers import Plan
from tamis.models.types import Candidate, Content, Query
from tamis.server.collections import Collections
from tamis.server.content import RawContent
from tamis.server.documents import point_id
from tamis.server.pace import Pace
from tamis.server.pipeline import SkipStage
from tamis.server.plans import ask
from tamis.server.reranking import best_ranking
from tamis.server.search import Search
from tamis.server.tasks import together
from tamis.v1 import stage_pb2 as pb


@dataclass(frozen=True, slots=True)
class Rerank:
    """Orders the best candidates again."""

    name: str
    reranker: Reranker
    collections: Collections
    depth: int
    pace: Pace = field(default_factory=Pace)

    @property
    def kind(self) -> pb.Stage.ValueType:
        return pb.STAGE_RERANK

    @property
    def method(self) -> str:
        return self.name

    def time_s(self, search: Search) -> float | None:
        return search.options.rerank_time_s

    def size(self, search: Search) -> int:
        depth = depth_of(search.options.rerank_depth, self.depth)
        # Scores of two methods cannot stand in one ranking, so all that is returned is reranked.
        return min(max(depth, search.k), len(search.candidates)) if depth else 0

    def shortened(self, search: Search, size: int) -> Search | None:
        if self.reranker.anytime:
            return search  # it stops when its time is up, with the best order so far
        if size < min(search.k, len(search.candidates)):
            return None
        return replace(search, options=replace(search.options, rerank_depth=size))

    async def __call__(self, search: Search) -> Search:
        query = query_of(search, depth_of(search.options.rerank_depth, self.depth))
        head = search.candidates[: self.size(search)]
        plans = self.reranker.plans(query, len(head))
        if plans:
            return replace(search, candidates=await self._in_the_index(search, plans, head))
        if self.reranker.needs:
            started = time.perf_counter()
            head = await self._with_representations(search.collection, head)
            search.clock.index_s += time.perf_counter() - started
        if self.reranker.reads_images:
            head = await together(*(self._with_image(search, candidate) for candidate in head))

        def report(ranking: Ranking) -> None:
            if search.report is not None:
                search.report(_with(search, ranking.candidates), ranking.settled)

        ranked = await best_ranking(
            self.reranker,
            query,
            head,
            search.clock,
            max_calls=search.options.max_calls,
            report=report,
        )
        return _with(search, ranked)

    async def _in_the_index(
        self, search: Search, plans: Sequence[Plan], candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        """The candidates by the sum of the scores that the index gives them; ties stay in order."""
        started = time.perf_counter()
        schema = await self.collections.schema(search.collection)
        ids = [point_id(candidate.document_id) for candidate in candidates]
        where = models.Filter(must=[models.HasIdCondition(has_id=[*ids])])
        scores: dict[str, float] = {}
        for plan in plans:
            self.collections.check(search.collection, schema, plan)
            for point in await ask(self.collections.store, search.collection, plan, where):
                scores[str(point.id)] = scores.get(str(point.id), 0.0) + point.score
        search.clock.index_s += time.perf_counter() - started
        if not scores:
            vectors = ", ".join(self.reranker.needs)
            raise SkipStage(pb.SKIP_REASON_NO_INPUT, f"no candidate has any of {vectors}")
        scored = [
            replace(candidate, score=scores.get(point, -math.inf))
            for point, candidate in zip(ids, candidates, strict=True)
        ]
        return sorted(scored, key=lambda candidate: -candidate.score)

    async def _with_image(self, search: Search, candidate: Candidate) -> Candidate:
        payload = search.payloads.get(candidate.document_id, {})
        image = await self.collections.documents.image(search.collection, payload)
        try:
            content = await RawContent(candidate.content.text, image).decoded()
        except ImageError:  # one damaged picture is no reason to rank nothing
            return candidate
        return replace(candidate, content=content)

    async def _with_representations(
        self, collection: str, candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        documents, schema = self.collections.documents, await self.collections.schema(collection)
        ids = [candidate.document_id for candidate in candidates]
        vectors = await documents.representations(collection, schema, ids, self.reranker.needs)
        return [replace(c, representations=vectors.get(c.document_id, {})) for c in candidates]


def depth_of(asked: int | None, own: int) -> int:
    """How many candidates a stage reads: as the request asks, else as the pipeline has it."""
    return own if asked is None else asked


def query_of(search: Search, depth: int) -> Query:
    """The query, where a later stage has something to work on.

    Raises:
        SkipStage: It has not.
    """
    if depth == 0:
        raise SkipStage(pb.SKIP_REASON_DISABLED, "its depth is 0")
    if not search.candidates or search.query is None:
        raise SkipStage(pb.SKIP_REASON_NO_INPUT, "there are no candidates")
    return search.query


def _with(search: Search, ranked: Sequence[Candidate]) -> Search:
    """The search with that ranking; what only the reranker needed is let go."""
    kept = [replace(c, content=Content(c.content.text), representations={}) for c in ranked]
    return replace(search, candidates=kept)
