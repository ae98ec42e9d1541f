"""Searching: what clients and sessions have in common."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, Unpack
from uuid import uuid4

from tamis.client.enums import View
from tamis.client.filters import Filterable
from tamis.client.searching import Search, SearchArguments, build
from tamis.client.types import CallOptions, Input, Metadata, SearchOptions

Events = TypeVar("Events")


@dataclass(frozen=True, slots=True)
class Call:
    """How one call is made.

    Attributes:
        request_id: Under which the server logs it.
        deadline: When it must be over, on `time.monotonic`'s clock; infinity for never.
        metadata: What goes with it.
    """

    request_id: str
    deadline: float
    metadata: Metadata

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, below zero when it has passed; None where there is none."""
        return None if self.deadline == math.inf else self.deadline - time.monotonic()

    @property
    def arguments(self) -> dict[str, Any]:
        """What gRPC is told."""
        return {"timeout": self.left_s, "metadata": self.metadata}


class Searcher(ABC, Generic[Events]):
    """Whatever takes searches: a client, or one of its sessions.

    Args:
        timeout: Seconds that a search may take unless it brings its own.
        metadata: Sent with every call.
    """

    # Options that a search cannot have of its own.
    _shared: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, timeout: float, metadata: Metadata = ()) -> None:
        self._timeout = timeout
        self._metadata = tuple(metadata)

    @abstractmethod
    def _events(self, search: Search, describe: Callable[[], Call]) -> Events: ...

    def _call(
        self, options: CallOptions, timeout: float, known: type[CallOptions] = CallOptions
    ) -> Call:
        if unknown := options.keys() - known.__annotations__.keys():
            raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
        request_id = options.get("request_id") or uuid4().hex
        metadata = [*self._metadata, ("x-request-id", request_id)]
        if traceparent := options.get("traceparent"):
            metadata.append(("traceparent", traceparent))
        deadline = time.monotonic() + options.get("timeout", timeout)
        return Call(request_id, deadline, tuple(metadata))

    def search(
        self,
        query: Input | None = None,
        *,
        collection: str,
        text: str | None = None,
        image: bytes | Path | None = None,
        instruction: str | None = None,
        task: str | None = None,
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
            task: One that the server knows an instruction for, such as ``mbeir/cirr_task7``.
            k: How many hits each stage returns.
            pipeline: One of the server's; None means its default.
            filter: Which documents may be found; see `tamis.client.filters`.
            view: How much of each document comes back; see `View`.
            options: See `SearchOptions`.

        Raises:
            TypeError: An option is unknown.
            ValueError: There is nothing to search for, or the filter has an unknown form.
        """
        if shared := self._shared & options.keys():
            raise TypeError(f"{', '.join(shared)}: give it to the session, for all its searches")
        search = build(
            query,
            collection=collection,
            text=text,
            image=image,
            instruction=instruction,
            task=task,
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
