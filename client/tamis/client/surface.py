"""What both clients offer. `sync.py` and `aio.py` say how; this page says what.

Where it says "returns", the asyncio client returns an awaitable of it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack
from uuid import uuid4

import grpc

from tamis.client.batches import Batches
from tamis.client.calls import Stubs
from tamis.client.enums import Side, View
from tamis.client.errors import CallCancelledError
from tamis.client.filters import Filterable
from tamis.client.options import ARGUMENTS, SEARCH_TIMEOUT_S
from tamis.client.searching import Search, SearchArguments, build
from tamis.client.types import CallOptions, Input, Metadata, SearchOptions

Events = TypeVar("Events")
Upsert = TypeVar("Upsert")
Documents = TypeVar("Documents")


@dataclass(frozen=True, slots=True)
class Call:
    """How one call is made.

    Attributes:
        stubs: Over which channel.
        request_id: Under which the server logs it.
        arguments: What gRPC is told: the timeout in seconds, and the metadata.
    """

    stubs: Stubs
    request_id: str
    arguments: dict[str, Any]


class Surface(ABC, Generic[Events, Upsert, Documents]):
    """A client of one server. Use it in a `with` block (`async with` for the asyncio one).

    Every call takes the options of `CallOptions` by name (`timeout`, `request_id`, `traceparent`)
    and raises the errors of `tamis.client.errors`.

    Args:
        target: The server's address, as in `localhost:50051` or `dns:///tamis:50051`.
        credentials: TLS, from `grpc.ssl_channel_credentials`; None means no TLS.
        timeout: Seconds that a search may take unless it brings its own.
        metadata: Sent with every call, such as `[("authorization", "Bearer ...")]`.
        arguments: gRPC channel arguments that replace or join those of `tamis.client.options`.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = SEARCH_TIMEOUT_S,
        metadata: Metadata = (),
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.target = target
        self._credentials = credentials
        self._timeout = timeout
        self._metadata = tuple(metadata)
        self._arguments = list((dict(ARGUMENTS) | dict(arguments or {})).items())
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        """Makes the channel, where that can be done before the first call."""

    @abstractmethod
    def _stubs(self) -> Stubs:
        """What the next call goes through. One channel now; a pool would choose here."""

    def _open_stubs(self) -> Stubs:
        if self._closed:
            raise CallCancelledError("the client is closed")
        return self._stubs()

    @abstractmethod
    def _events(self, search: Search, open_call: Callable[[], Call]) -> Events: ...

    @abstractmethod
    def _upsert(
        self, batches: Batches, documents: Documents, open_call: Callable[[], Call]
    ) -> Upsert: ...

    def _call(
        self, options: CallOptions, timeout: float, known: type[CallOptions] = CallOptions
    ) -> Call:
        if unknown := options.keys() - known.__annotations__.keys():
            raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
        request_id = options.get("request_id") or uuid4().hex
        metadata = [*self._metadata, ("x-request-id", request_id)]
        if traceparent := options.get("traceparent"):
            metadata.append(("traceparent", traceparent))
        seconds = options.get("timeout", timeout)
        arguments = {
            "timeout": None if seconds == math.inf else seconds,
            "metadata": tuple(metadata),
        }
        return Call(self._open_stubs(), request_id, arguments)

    @abstractmethod
    def close(self) -> Any:
        """Ends the calls that still run and the connection."""

    def search(
        self,
        query: Input | None = None,
        *,
        collection: str,
        text: str | None = None,
        image: bytes | Path | None = None,
        instruction: str | None = None,
        k: int = 10,
        pipeline: str | None = None,
        filter: Filterable | None = None,
        view: str = View.PAYLOAD,
        **options: Unpack[SearchOptions],
    ) -> Events:
        """The events of one search, each the moment that it is there.

            with client.search("a red bicycle", collection="stamps") as events:
                for event in events:
                    ...

        Leaving the block cancels the search, wherever it is; without a block, read it to its end.
        The call begins with the block or with the first event that is asked for.

        Args:
            query: A text, a picture's bytes or path, or a `Query` of several of them.
            collection: Where to search.
            text: The query's text, by name.
            image: The query's picture, by name.
            instruction: What kind of answer is wanted, for encoders trained with instructions.
            k: How many hits each stage returns.
            pipeline: One of the server's; None means its default.
            filter: Which documents may be found; see `tamis.client.filters`.
            view: How much of each document comes back; see `View`.
            options: See `SearchOptions`.

        Raises:
            TypeError: An option is unknown.
            ValueError: There is nothing to search for, or the filter has an unknown form.
        """
        search = build(
            query,
            collection=collection,
            text=text,
            image=image,
            instruction=instruction,
            k=k,
            pipeline=pipeline,
            filter=filter,
            view=view,
            options=options,
        )
        return self._events(search, lambda: self._call(options, self._timeout, SearchOptions))

    @abstractmethod
    def hits(
        self, query: Input | None = None, *, collection: str, **options: Unpack[SearchArguments]
    ) -> Any:
        """Returns the hits of a search's last stage. Takes what `search` takes."""

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
    def delete(
        self,
        collection: str,
        ids: Sequence[str] = (),
        *,
        filter: Filterable | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Deletes documents by id or by filter; returns how many there were."""

    @abstractmethod
    def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Returns the documents of these ids, in their order; unknown ones are left out."""

    @abstractmethod
    def create_collection(
        self, name: str, vectors: Sequence[str] = (), **options: Unpack[CallOptions]
    ) -> Any:
        """Makes an empty collection that indexes `vectors`, or all that the encoders make."""

    @abstractmethod
    def collection(self, name: str, **options: Unpack[CallOptions]) -> Any:
        """Returns what a collection holds."""

    @abstractmethod
    def collections(self, **options: Unpack[CallOptions]) -> Any:
        """Returns what every collection holds, by name."""

    @abstractmethod
    def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> Any:
        """Deletes a collection with all that it holds."""

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
