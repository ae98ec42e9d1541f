"""The blocking client's streams. Each is for one thread, but for `cancel`, which any may call."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from tamis.client import errors, result_messages
from tamis.client.batches import WINDOW, Batches
from tamis.client.events import SearchEvents, UpsertTotals
from tamis.client.pool import Place
from tamis.client.results import Event, StageResult, UpsertProgress
from tamis.client.searcher import Call
from tamis.client.searching import Search
from tamis.client.types import Document
from tamis.v1.collection_service_pb2 import UpsertDocumentsRequest
from tamis.v1.retrieval_service_pb2 import SearchRequest

T = TypeVar("T")


class Stream(Generic[T]):
    """Answers that come one by one. The call begins with the first that is asked for.

    gRPC does not end a call whose stream is abandoned (grpc#43462, since 1.83): use `with`, or read
    to the end. A stream that is dropped is cancelled when Python collects it.
    """

    def __init__(self, describe: Callable[[], Call]) -> None:
        self._describe = describe
        self._stream: Any = None
        self._ended = False
        self._cancelled = False
        self.request_id = ""

    @abstractmethod
    def _start(self, call: Call) -> Any:
        """Begins the call."""

    @abstractmethod
    def _next(self) -> T | None:
        """The next answer, or None at the end."""

    def _hold(self, stream: Any) -> None:
        self._stream = stream
        if self._cancelled:  # by another thread, while the call began
            stream.cancel()

    def _begin(self) -> None:
        if self._stream is None and not self._cancelled and not self._ended:
            call = self._describe()
            self.request_id = call.request_id
            self._hold(self._start(call))

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        self._begin()
        if self._ended:
            raise StopIteration
        try:
            answer = None if self._cancelled else self._next()
        except grpc.RpcError as error:
            if not self._cancelled:
                self._end()
                raise errors.of_call(error, self.request_id) from error
            answer = None
        except errors.TamisClientError:  # of a session's search
            self._end()
            raise
        except BaseException:
            self.cancel()
            raise
        if self._cancelled:
            raise errors.CallCancelledError("cancelled", request_id=self.request_id)
        if answer is None:
            self._end()
            raise StopIteration
        return answer

    def _end(self) -> None:
        self._ended = True

    def cancel(self) -> None:
        """Ends the call; nothing happens where it is over."""
        if not self._ended and not self._cancelled:
            self._cancelled = True
            if self._stream is not None:
                self._stream.cancel()

    def __del__(self) -> None:
        self.cancel()


class SearchStream(SearchEvents, Stream[Event]):
    """The events of one search."""

    def __init__(
        self,
        search: Search,
        describe: Callable[[], Call],
        send: Callable[[SearchRequest, Call], Any],
    ) -> None:
        SearchEvents.__init__(self)
        Stream.__init__(self, describe)
        self._search = search
        self._send = send

    def _start(self, call: Call) -> Any:
        self._search.load()
        self._search.request.request_id = call.request_id
        return self._send(self._search.request, call)

    def _next(self) -> Event | None:
        for response in self._stream:
            if (event := self._take(response)) is not None:
                return event
        return None

    def first(self, stage: str) -> StageResult | None:
        """Reads on to the result of `stage`; None where the search ends without it."""
        while (found := self._known(stage)) is None and next(self, None) is not None:
            pass
        return found

    def final(self) -> StageResult:
        """Reads to the end; the best ranking, which is the last.

        Raises:
            UnavailableError: No stage has a result.
        """
        for _ in self:
            pass
        return self._last()


class UpsertStream(UpsertTotals, Stream[UpsertProgress]):
    """The progress of one upsert."""

    def __init__(
        self,
        batches: Batches,
        documents: Iterable[Document],
        describe: Callable[[], Call],
        place: Callable[[], Place],
    ) -> None:
        UpsertTotals.__init__(self)
        Stream.__init__(self, describe)
        self._place = place
        self._requests = _requests(batches, documents)
        self._sent: SimpleQueue[UpsertDocumentsRequest | None] = SimpleQueue()
        self._waiting = 0
        self._more = True

    def _start(self, call: Call) -> Any:
        # A thread of gRPC's takes the messages from here; the documents are made in the caller's.
        place = self._place()
        method = place.lane.stubs.collections.UpsertDocuments
        return place.held_by(method, iter(self._sent.get, None), **call.arguments)

    def _next(self) -> UpsertProgress | None:
        while self._more and self._waiting < WINDOW:
            request = next(self._requests, None)
            self._more = request is not None
            self._waiting += self._more
            self._sent.put(request)
        for response in self._stream:
            self._waiting -= 1
            return self._count(result_messages.progress(response))
        self._check_end(self._waiting, self.request_id)
        return None

    def _end(self) -> None:
        super()._end()
        self._sent.put(None)  # lets gRPC's thread go

    def cancel(self) -> None:
        super().cancel()
        self._sent.put(None)

    def final(self) -> UpsertProgress:
        """Sends everything; the totals, with all failures."""
        for _ in self:
            pass
        return self.total


def _requests(batches: Batches, documents: Iterable[Document]) -> Iterator[UpsertDocumentsRequest]:
    for document in documents:
        if (request := batches.add(document)) is not None:
            yield request
    if (request := batches.rest()) is not None:
        yield request
