"""The stages that rank: retrieve and rerank."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qdrant_client import models

from tamis.models.errors import ImageError, InputError, TamisError
from tamis.models.rerankers import Ranking, Reranker
from tamis.models.retrievers import Plan, Retriever
from tamis.models.types import Candidate, Content, Kind, Query, Representation, Sparse
from tamis.server.cache.embeddings import Source
from tamis.server.collections import Collections, point_id
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.pace import Pace
from tamis.server.pipeline import SkipStage
from tamis.server.plans import ask
from tamis.server.reranking import best_ranking
from tamis.server.search import Search
from tamis.server.tasks import together
from tamis.v1 import stage_pb2 as pb


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Encodes the query, plans the search and asks the index.

    Attributes:
        also: Representations that later stages will want: the same forward pass makes them.
        index_pace: How long the index takes.
    """

    name: str
    retriever: Retriever
    encoders: Encoders
    collections: Collections
    depth: int
    also: Collection[str] = ()
    pace: Pace = field(default_factory=Pace)
    index_pace: Pace = field(default_factory=Pace)

    @property
    def kind(self) -> pb.Stage.ValueType:
        return pb.STAGE_RETRIEVE

    @property
    def method(self) -> str:
        return self.name

    def time_s(self, search: Search) -> float | None:
        return None

    def size(self, search: Search) -> int:
        return max(search.k, search.options.retrieve_depth or self.depth)

    def shortened(self, search: Search, size: int) -> Search | None:
        return None  # an index takes hardly less time for fewer

    async def __call__(self, search: Search) -> Search:
        collection = await self.collections.schema(search.collection)
        started = time.perf_counter()
        query, source = await self._encoded(search)
        search.clock.encode_s += time.perf_counter() - started
        plan = self.retriever.plan(query, self.size(search))
        if plan is None:
            raise InputError(
                f"query: {self.name} needs one of {', '.join(self.retriever.needs)}; this query "
                f"gives {', '.join(query.representations) or 'none'}"
            )
        self.collections.check(search.collection, collection, plan)
        started = time.perf_counter()
        points = await ask(self.collections.store, search.collection, plan, search.where)
        search.clock.index_s += time.perf_counter() - started
        self.index_pace.took(self.size(search), search.clock.index_s)
        payloads = {point.payload["id"]: point.payload for point in points if point.payload}
        candidates = [
            Candidate(point.payload["id"], point.score, Content(text=point.payload.get("text")))
            for point in points
            if point.payload
        ]
        # Fused ranks are often equal, and an engine gives equals in any order.
        candidates.sort(key=lambda candidate: (-candidate.score, candidate.document_id))
        return replace(
            search,
            query=query,
            source=source,
            candidates=candidates,
            payloads=payloads,
            warnings=await self._warnings(search),
        )

    async def _warnings(self, search: Search) -> tuple[TamisError, ...]:
        if search.content is None:
            return ()
        names = await self.encoders.truncating(search.content, self.retriever.needs)
        return tuple(InputError(f"query.text: {n} does not read it to its end") for n in names)

    async def _encoded(self, search: Search) -> tuple[Query, Source | None]:
        if search.given:
            self._check(search.given)
        if search.content is None:
            return Query(Content(), search.given), None
        needed = {*self.retriever.needs, *self.also} - search.given.keys()
        # An encoding without time to search for it is of no use.
        deadline = search.clock.deadline - self.index_pace.seconds(self.size(search))
        query, source = await self.encoders.query(
            search.content,
            needed,
            policy=search.options.policy,
            bulk=search.options.bulk,
            deadline=deadline,
        )
        return replace(query, representations={**query.representations, **search.given}), source

    def _check(self, given: Mapping[str, Representation]) -> None:
        heads = self.encoders.heads
        for name, value in given.items():
            if name not in heads:
                raise InputError(
                    f"representations[{name!r}]: not one of {', '.join(sorted(heads))}"
                )
            kind = heads[name].kind
            if isinstance(value, Sparse) != (kind is Kind.SPARSE):
                raise InputError(f"representations[{name!r}]: needs to be {kind}")
            if isinstance(value, Sparse):
                continue
            axes, dim = 1 if kind is Kind.DENSE else 2, heads[name].dim
            if value.ndim != axes or value.shape[-1] != dim:
                raise InputError(
                    f"representations[{name!r}]: has shape {list(value.shape)}; needs {axes} axes, "
                    f"the last one of {dim}"
                )


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
        image = await self.collections.image(search.collection, payload)
        try:
            content = await RawContent(candidate.content.text, image).decoded()
        except ImageError:  # one damaged picture is no reason to rank nothing
            return candidate
        return replace(candidate, content=content)

    async def _with_representations(
        self, collection: str, candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        vectors = await self.collections.representations(
            collection, [candidate.document_id for candidate in candidates], self.reranker.needs
        )
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
