"""The first stage: encodes the query, asks the index, and fuses what several retrievers find."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tamis.models import catalog
from tamis.models.errors import InputError, TamisError
from tamis.models.expanders import Expander, FeedbackExpander, TextExpander
from tamis.models.retrievers import FusedRetriever, Nearest, Plan, ReciprocalRanks, Retriever, fused
from tamis.models.types import Candidate, Content, Query, Representation, Sparse
from tamis.server import ready_made
from tamis.server.cache.embeddings import Source
from tamis.server.collections import Collections
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders, slowest
from tamis.server.pace import Pace
from tamis.server.plans import Found, fuse, representation, rescored
from tamis.server.search import Search
from tamis.server.tasks import together
from tamis.v1 import stage_pb2 as pb


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Encodes the query, plans the search and asks the index.

    Where somebody wants partial results of a fused search, its retrievers are asked side by side:
    each begins when its own encoders are ready, and what is there is reported on the way. Otherwise
    the index has the whole plan in one request.

    Attributes:
        also: Representations that later stages will want: the same forward pass makes them.
        expander: Rewrites the query for this stage.
        index_pace: How long the index takes.
    """

    name: str
    retriever: Retriever
    encoders: Encoders
    collections: Collections
    depth: int
    also: Collection[str] = ()
    expander: Expander | None = None
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
        if search.given:
            ready_made.check(search.given, self.encoders.heads)
            held = {name: self.encoders.fingerprints[_encoder(name)] for name in search.given}
            ready_made.check_fingerprints(search.given_fingerprints, held, "this server's encoder")
        await self.collections.schema(search.collection)  # no query is encoded for none
        started = time.perf_counter()
        wordings, search = await self._worded(search)
        if search.report and isinstance(self.retriever, FusedRetriever) and not self.expander:
            return await self._side_by_side(search, self.retriever, wordings)
        queries, search = await self._encoded_for(search, wordings)
        search.clock.encode_s = time.perf_counter() - started
        started = time.perf_counter()
        if isinstance(self.expander, FeedbackExpander):
            queries[0] = await self._fed_back(search, self.expander, queries[0])
        plan = _plan(self.retriever, queries, self.size(search))
        if plan is None:
            raise self._nothing_to_search(queries[0])
        found = await self._ask(search, plan)
        self._took(search, time.perf_counter() - started)
        return _with(search, found)

    async def _side_by_side(
        self, search: Search, fusing: FusedRetriever, wordings: Sequence[RawContent]
    ) -> Search:
        """Asks each retriever as soon as its encoders are ready; reports what is there so far."""
        started, size = time.perf_counter(), self.size(search)
        wanted = {*fusing.needs, *self.also}
        encoding = {
            name: asyncio.create_task(
                self._encoded(search, wordings, {n for n in wanted if _encoder(n) == name})
            )
            for name in {_encoder(n) for n in wanted}
        }
        left, rankings = set(range(len(fusing.retrievers))), dict[int, Found]()

        async def one(number: int, retriever: Retriever) -> None:
            made = [await encoding[name] for name in {_encoder(n) for n in retriever.needs}]
            plan = _plan(retriever, _joined(own for own, _ in made), max(size, fusing.depth))
            if plan is not None:
                search.clock.encode_s = time.perf_counter() - started  # the last one's counts
                rankings[number] = await self._ask(search, plan)
            left.discard(number)
            if search.report and left and rankings.get(number):
                there = [catalog.name_of(fusing.retrievers[i]) for i in sorted(rankings)]
                so_far = _with(search, _fused(fusing, rankings, size))
                search.report(so_far, range(0), "+".join(there))

        try:
            await together(*(one(i, part) for i, part in enumerate(fusing.retrievers)))
            made = [await encoding[name] for name in sorted(encoding)]
        finally:
            for task in encoding.values():
                task.cancel()
            await asyncio.gather(*encoding.values(), return_exceptions=True)
        (query, *_) = _joined(own for own, _ in made)
        if not rankings:
            raise self._nothing_to_search(query)
        self._took(search, time.perf_counter() - started - search.clock.encode_s)
        source = slowest(source for _, source in made)
        return _with(replace(search, query=query, source=source), _fused(fusing, rankings, size))

    async def _worded(self, search: Search) -> tuple[list[RawContent], Search]:
        """What is to be encoded, and the search with what its caller should know of it."""
        if search.content is None:
            return [*search.others], search
        names = await self.encoders.truncating(search.content, self.retriever.needs)
        warnings: list[TamisError] = [
            InputError(f"query.text: {name} does not read it to its end") for name in names
        ]
        wordings, text = [search.content], search.content.text
        if isinstance(self.expander, TextExpander) and text is not None:
            try:
                texts = await asyncio.to_thread(self.expander.expand, text)
            except TamisError as error:  # a search without an expansion is better than none
                warnings.append(error)
            else:
                wordings = [replace(search.content, text=one, _decoding=[]) for one in texts]
        warned = replace(search, warnings=(*search.warnings, *warnings))
        return [*wordings, *search.others], warned

    async def _encoded_for(
        self, search: Search, wordings: Sequence[RawContent]
    ) -> tuple[list[Query], Search]:
        """The queries to search with, and the search with the one that its later stages read."""
        if search.content is None or wordings[0] is search.content:
            needed = {*self.retriever.needs, *self.also}
            queries, source = await self._encoded(search, wordings, needed)
            return queries, replace(search, query=queries[0], source=source)
        queries, source = await self._encoded(search, wordings, {*self.retriever.needs})
        (asked,), _ = await self._encoded(search, [search.content], {*self.also})
        return queries, replace(search, query=asked, source=source)

    async def _encoded(
        self, search: Search, wordings: Sequence[RawContent], needed: Collection[str]
    ) -> tuple[list[Query], Source | None]:
        """Each wording as a query; the first one has what the caller brought."""
        own = [] if search.content is not None else [Query(Content(), search.given)]
        # An encoding without time to search for it is of no use.
        deadline = search.clock.deadline - self.index_pace.seconds(self.size(search))
        made = await together(
            *(
                self.encoders.query(
                    wording,
                    [*{*needed} - (search.given.keys() if number == 0 and not own else set())],
                    policy=search.options.policy,
                    bulk=search.options.bulk,
                    deadline=deadline,
                )
                for number, wording in enumerate(wordings)
            )
        )
        queries = own + [query for query, _ in made]
        queries[0] = _with_representations(queries[0], search.given)
        return queries, slowest(source for _, source in made)

    async def _fed_back(self, search: Search, expander: FeedbackExpander, query: Query) -> Query:
        """The query as the documents that it finds make it."""
        terms = query.representations.get(expander.vector)
        if not isinstance(terms, Sparse) or not len(terms.indices):
            return query
        found = await self._ask(search, Plan(Nearest(expander.vector, terms), expander.documents))
        records = await self.collections.store.retrieve(
            search.collection, [str(point.id) for point in found], vectors=[expander.vector]
        )
        stored = {
            str(record.id): representation(record.vector[expander.vector])
            for record in records
            if isinstance(record.vector, dict) and expander.vector in record.vector
        }
        pairs = [(point.score, stored.get(str(point.id))) for point in found]
        told = [(score, own) for score, own in pairs if isinstance(own, Sparse)]
        return _with_representations(query, {expander.vector: expander.expand(terms, told)})

    async def _ask(self, search: Search, plan: Plan) -> Found:
        schema = await self.collections.schema(search.collection)
        self.collections.check(search.collection, schema, plan)
        plan = await self.collections.terms.weighed(search.collection, schema, plan)
        plan = rescored(plan, schema, self.collections.dense.oversampling)
        return await self.collections.late.ask(search.collection, schema, plan, search.where)

    def _took(self, search: Search, seconds: float) -> None:
        search.clock.index_s = seconds
        self.index_pace.took(self.size(search), seconds)

    def _nothing_to_search(self, query: Query) -> InputError:
        return InputError(
            f"query: {self.name} needs one of {', '.join(self.retriever.needs)}; this query "
            f"gives {', '.join(query.representations) or 'none'}"
        )


def _plan(retriever: Retriever, queries: Sequence[Query], limit: int) -> Plan | None:
    """How to find what any of the queries asks for: several wordings are fused."""
    plans = [plan for query in queries if (plan := retriever.plan(query, limit))]
    return fused(plans, ReciprocalRanks(), limit)


def _fused(fusing: FusedRetriever, rankings: Mapping[int, Found], limit: int) -> Found:
    """The rankings that are there as one; a single one keeps its own scores."""
    there = sorted(rankings)
    if len(there) == 1:
        return rankings[there[0]][:limit]
    return fuse(fusing.fusion(there), [rankings[number] for number in there], limit)


def _with(search: Search, points: Found) -> Search:
    payloads = {point.payload["id"]: point.payload for point in points if point.payload}
    candidates = [
        Candidate(point.payload["id"], point.score, Content(text=point.payload.get("text")))
        for point in points
        if point.payload
    ]
    # Fused ranks are often equal, and an engine gives equals in any order.
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.document_id))
    return replace(search, candidates=candidates, payloads=payloads)


def _joined(made: Iterable[Sequence[Query]]) -> list[Query]:
    """The same queries, each with the representations that it has in any of the lists."""
    queries: list[Query] = []
    for own in made:
        queries = queries or list(own)
        queries = [
            _with_representations(query, more.representations)
            for query, more in zip(queries, own, strict=True)
        ]
    return queries


def _with_representations(query: Query, more: Mapping[str, Representation]) -> Query:
    return replace(query, representations={**query.representations, **more})


def _encoder(name: str) -> str:
    return name.partition(".")[0]
