"""What both clients offer. `sync.py` and `aio.py` say how; this page says what.

Where it says "returns", the asyncio client returns an awaitable of it.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

import grpc

from tamis.client.batches import Batches
from tamis.client.collection_surface import CollectionSurface
from tamis.client.enums import ContextDelivery, Side, View
from tamis.client.errors import CallCancelledError
from tamis.client.filters import Filterable
from tamis.client.gates import AsyncGate, Gate, Size, checked
from tamis.client.options import ARGUMENTS, HEDGE_SHARE, SEARCH_TIMEOUT_S
from tamis.client.pool import Allowance, Lane, Place, Pool
from tamis.client.searcher import Call, Events, Searcher
from tamis.client.types import CallOptions, Document, Input, Metadata, SearchOptions

Upsert = TypeVar("Upsert")
Documents = TypeVar("Documents")


class Surface(Searcher[Events], CollectionSurface, Generic[Events, Upsert, Documents]):
    """A client of one server. Use it in a `with` block (`async with` for the asyncio one).

    Every call takes the options of `CallOptions` by name (`timeout`, `request_id`, `traceparent`)
    and raises the errors of `tamis.client.errors`.

    Args:
        target: The server's address, as in `localhost:50051` or `dns:///tamis:50051`.
        credentials: TLS, from `grpc.ssl_channel_credentials`; None means no TLS.
        timeout: Seconds that a search may take unless it brings its own.
        metadata: Sent with every call, such as `[("authorization", "Bearer ...")]`.
        arguments: gRPC channel arguments that replace or join those of `tamis.client.options`.
        channels: Connections to the server; each call takes the least loaded. A server with
            several processes needs some for each.
        max_concurrency: How many calls that run models (searches, batches, `embed`, `rerank`,
            `refine`) may be under way at once. The others wait in the client, as long as their
            timeouts let them. `"server"` stays a tenth below the server's own limit; None means no
            limit.
        hedge_after_s: Seconds after which a search without a first event is sent once more, over
            another connection where there is one; the first to answer wins and the other is
            cancelled. None means never; a session's searches never are.
        hedge_share: The share of the searches that may be sent twice.
    """

    _gate: AsyncGate | Gate

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = SEARCH_TIMEOUT_S,
        metadata: Metadata = (),
        arguments: Mapping[str, Any] | None = None,
        channels: int = 1,
        max_concurrency: Size = None,
        hedge_after_s: float | None = None,
        hedge_share: float = HEDGE_SHARE,
    ) -> None:
        super().__init__(timeout, metadata)
        if channels < 1:
            raise ValueError(f"channels must be at least 1, not {channels}")
        if hedge_after_s is not None and not hedge_after_s >= 0:
            raise ValueError(f"hedge_after_s must be at least 0, not {hedge_after_s}")
        self.target = target
        self._credentials = credentials
        self._arguments = list((dict(ARGUMENTS) | dict(arguments or {})).items())
        self._channels = channels
        self._gate = self._new_gate(checked(max_concurrency))
        self._hedge_after_s = hedge_after_s
        self._allowance = Allowance(hedge_share)
        self._made: Pool | None = None
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        """Makes the channels, where that can be done before the first call."""

    @abstractmethod
    def _channel(self) -> Any:
        """A new connection."""

    @abstractmethod
    def _new_gate(self, size: Size) -> AsyncGate | Gate:
        """What calls that run models go through."""

    def _pool(self) -> Pool:
        if self._closed:
            raise CallCancelledError("the client is closed")
        # A channel belongs to the loop that runs when it is made, which __init__ may not have.
        if self._made is None:
            self._made = Pool(self._channel() for _ in range(self._channels))
        return self._made

    def _place(self, beside: Lane | None = None) -> Place:
        pool = self._pool()
        return Place(pool.take(beside), pool.give_back)

    def _limited_place(self, beside: Lane | None = None) -> Place:
        """The place of a call that the gate has let in."""

        def back(lane: Lane) -> None:
            pool.give_back(lane)
            self._gate.leave()

        try:
            pool = self._pool()
        except BaseException:
            self._gate.leave()
            raise
        return Place(pool.take(beside), back)

    @abstractmethod
    def session(self, **options: Unpack[CallOptions]) -> Any:
        """Many searches on one stream, at a fraction of the cost of a call each.

            with client.session() as session:
                with session.search("a red bicycle", collection="stamps") as events:
                    ...

        `session.search` and `session.hits` take what the client's take, but for `traceparent`,
        which the session has for all. Each search has its own timeout and its own end: leaving its
        block stops that search alone. One that the server cannot take for a moment is sent again,
        as the client's own are. A stream that breaks fails all of them; leaving the session's
        block ends all of them. It stays on one connection and has no timeout unless one is given.
        """

    @abstractmethod
    def _upsert(
        self, batches: Batches, documents: Documents, describe: Callable[[], Call]
    ) -> Upsert: ...

    @abstractmethod
    def close(self) -> Any:
        """Ends the calls that still run and the connection."""

    def upsert(
        self,
        collection: str,
        documents: Documents,
        batch: int = 32,
        **options: Unpack[CallOptions],
    ) -> Upsert:
        """Streams documents in: a stream of `UpsertProgress`, one for each batch on disk.

        A document that cannot be read is reported in `failures`; the others go in. Nothing is sent
        before the stream is read, by a loop or by `final()`. It has no timeout unless one is given.

        Args:
            collection: Where they go; it is made where there is none.
            documents: `Document`s, taken as they are needed, a few batches ahead of the answers.
                The asyncio client takes an async iterable too.
            batch: Documents in one message, at most the server's `max_batch_inputs`.
            options: See `CallOptions`.

        Raises:
            ValueError: A document has no content, too much of it, or metadata beyond JSON.
        """
        batches = Batches(collection, batch)
        return self._upsert(batches, documents, lambda: self._call(options, math.inf))

    @abstractmethod
    def embed(
        self,
        encoder: str,
        inputs: Sequence[Input],
        side: str = Side.QUERY,
        heads: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> Any:
        """Returns for each input its `Embedding`, or the `Failure` of one that was not encoded.

        Args:
            encoder: One of the server's.
            inputs: Texts, pictures or both, at most the server's `max_batch_inputs`.
            side: On which side of a search they are; see `Side`.
            heads: Which representations to return, such as `dense`; none means all.
            options: See `CallOptions`.
        """

    @abstractmethod
    def batch_search(
        self,
        queries: Sequence[Input],
        *,
        collection: str,
        k: int = 10,
        pipeline: str | None = None,
        filter: Filterable | None = None,
        view: str = View.PAYLOAD,
        **options: Unpack[SearchOptions],
    ) -> Any:
        """Returns for each query its last stage's `StageResult`, or the `Failure` of that query.

        Args:
            queries: From 1 to 256 of what `search` takes.
            collection: Where to search.
            k: How many hits each query has.
            pipeline: One of the server's; None means its default.
            filter: Which documents may be found; see `tamis.client.filters`.
            view: How much of each document comes back; see `View`.
            options: See `SearchOptions`; `timeout` is for all of them together.
        """

    @abstractmethod
    def rerank(
        self,
        query: Input,
        documents: Sequence[Document],
        pipeline: str | None = None,
        max_calls: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Returns the documents `Ranked` by a query: up to 1,000, in no collection.

        Args:
            query: What they are ordered by.
            documents: Their ids must differ.
            pipeline: Whose reranker orders them; None means the server's default.
            max_calls: Prompts that the reranker's model may be given; None for all that it takes.
            options: See `CallOptions`.
        """

    @abstractmethod
    def refine(
        self,
        query: Input | None,
        documents: Sequence[Document],
        pipeline: str | None = None,
        budget: int | None = None,
        context_delivery: str = ContextDelivery.INLINE,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Returns the documents `Refined` to one context: up to 100, in no collection.

        Args:
            query: What matters, or None for refiners that do not look at it.
            documents: Best first.
            pipeline: Whose refiners do it; None means the server's default.
            budget: Visual tokens kept of each image, from 1; None means the refiner's own.
            context_delivery: How the context comes back; see `ContextDelivery`.
            options: See `CallOptions`.
        """

    @abstractmethod
    def get_context(self, handle: str, **options: Unpack[CallOptions]) -> Any:
        """Returns the `Context` that a search or `refine` kept under a handle.

        Args:
            handle: `Context.handle`.
            options: See `CallOptions`.

        Raises:
            NotFoundError: It has expired, or its context was evicted or purged: search again.
            InvalidRequestError: It is no handle.
        """

    @abstractmethod
    def info(self, **options: Unpack[CallOptions]) -> Any:
        """Returns the server's version, pipelines and limits."""

    @abstractmethod
    def ready(self, **options: Unpack[CallOptions]) -> Any:
        """Returns whether the server takes searches now. False where it cannot be reached."""

    @abstractmethod
    def wait_until_ready(self, timeout: float = 30.0) -> Any:
        """Returns when the server takes searches.

        Args:
            timeout: Seconds to wait, at most.

        Raises:
            DeadlineExceededError: It did not within that time.
        """
