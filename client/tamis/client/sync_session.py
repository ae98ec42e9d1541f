"""Many searches on one stream: blocking."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from tamis.client import errors
from tamis.client import session as wire
from tamis.client.gates import Gate
from tamis.client.pool import Place
from tamis.client.results import Hit
from tamis.client.searcher import Call, Searcher
from tamis.client.searching import Search, SearchArguments
from tamis.client.sync_streams import SearchStream
from tamis.client.types import Input
from tamis.v1.retrieval_service_pb2 import SearchRequest, SearchResponse, SearchSessionRequest

CLOSE_S = 5.0  # for the reader to see that its call is cancelled; never waited out


class Answers:
    """What the server says of one search of a session; see `AsyncAnswers`."""

    def __init__(self, session: "Session", name: str, attempts: wire.Attempts) -> None:
        self._session = session
        self._name = name
        self.attempts = attempts
        self._inbox: SimpleQueue[wire.Answer | float | None] = SimpleQueue()

    def put(self, answer: wire.Answer | float | None) -> None:
        """Takes a response, the error that ends the search, or None for its good end.

        A number is of seconds after which the search is sent again.
        """
        self._inbox.put(answer)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SearchResponse:
        answer = self._answer()
        while isinstance(answer, float):
            try:
                answer = self._inbox.get(timeout=answer)
            except Empty:
                self._session.again(self._name, self)
                answer = self._answer()
        if isinstance(answer, errors.TamisClientError):
            raise answer
        if answer is None:
            raise StopIteration
        return answer

    def _answer(self) -> wire.Answer | float | None:
        left_s = self.attempts.call.left_s
        try:
            return self._inbox.get(timeout=None if left_s is None else max(0.0, left_s))
        except Empty:
            self._session.stop(self._name, self)
            raise wire.expired(self._name) from None

    def cancel(self) -> None:
        self._session.stop(self._name, self)


class Session(Searcher[SearchStream]):
    """Many searches on one stream; see `Client.session`. Use it in a `with` block.

    Any number of threads may search at once. A thread of its own reads the stream.
    """

    # There is no lock: the collector may stop a search in any thread, at any moment. Of those who
    # end a search, the one that takes it out of the dictionary does the rest.

    _shared = frozenset({"traceparent"})

    def __init__(
        self,
        place: Callable[[], Place],
        describe: Callable[[], Call],
        gate: Gate,
        timeout: float,
    ) -> None:
        super().__init__(timeout)
        self._place = place
        self._describe = describe
        self._gate = gate
        self._searches: dict[str, Answers] = {}
        self._sent: SimpleQueue[SearchSessionRequest | None] = SimpleQueue()
        self._over: errors.TamisClientError | None = wire.not_open()
        self._stream: Any = None
        self.request_id = ""

    def __enter__(self) -> Self:
        call = self._describe()
        self.request_id = call.request_id
        place = self._place()
        method = place.lane.stubs.retrieval.SearchSession
        self._stream = place.held_by(method, iter(self._sent.get, None), **call.arguments)
        self._over = None
        self._reading = threading.Thread(target=self._read, name="tamis-session", daemon=True)
        self._reading.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the searches that still run, and the stream."""
        self._fail(wire.closed(self.request_id))
        if self._stream is not None:
            self._stream.cancel()
            self._reading.join(CLOSE_S)

    def _events(self, search: Search, describe: Callable[[], Call]) -> SearchStream:
        return SearchStream(search, describe, self._send)

    def hits(
        self, query: Input | None = None, *, collection: str, **options: Unpack[SearchArguments]
    ) -> list[Hit]:
        with self.search(query, collection=collection, **options) as events:
            return list(events.final().hits)

    def _send(self, request: SearchRequest, call: Call) -> Answers:
        name = request.request_id
        self._gate.enter(call)
        answers = Answers(self, name, wire.Attempts(request, call))
        if self._searches.setdefault(name, answers) is not answers:
            self._gate.leave()
            raise wire.twice(name)
        self._sent.put(answers.attempts.message())
        # After the search is in the dictionary: whoever ends the session now finds it there.
        if self._over is not None:
            self._end(name, answers, errors.again(self._over, name))
        return answers

    def _read(self) -> None:
        error = wire.ended(self.request_id)
        try:
            for message in self._stream:
                name, answer, last = wire.answer(message)
                # A search that is not there was cancelled, or timed out here.
                if (answers := self._searches.get(name)) is not None:
                    again_s = answers.attempts.again_s(answer)
                    answers.put(answer if again_s is None else again_s)
                    if last and again_s is None:
                        self._end(name, answers, None)
        except grpc.RpcError as broken:
            error = errors.of_call(broken, self.request_id)
        finally:
            self._fail(error)

    def again(self, name: str, answers: Answers) -> None:
        """Sends one search again; nothing happens where it is over."""
        if self._searches.get(name) is answers:
            self._sent.put(answers.attempts.message())

    def stop(self, name: str, answers: Answers) -> None:
        """Ends one search, here and at the server; nothing happens where it is over."""
        if self._end(name, answers, None):
            self._sent.put(SearchSessionRequest(cancel=name))

    def _end(self, name: str, answers: Answers, why: errors.TamisClientError | None) -> bool:
        if self._searches.get(name) is not answers or self._searches.pop(name, None) is None:
            return False
        answers.put(why)
        self._gate.leave()
        return True

    def _fail(self, error: errors.TamisClientError) -> None:
        if self._over is None:
            self._over = error
            self._sent.put(None)  # lets gRPC's thread go
        for name, answers in list(self._searches.items()):
            self._end(name, answers, errors.again(self._over, name))
