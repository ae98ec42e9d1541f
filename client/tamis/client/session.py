"""What a session sends and hears. Pure functions that both kinds of session share."""

import grpc
from google.protobuf.duration_pb2 import Duration

from tamis.client import errors
from tamis.client.searcher import Call
from tamis.v1.retrieval_service_pb2 import (
    SearchRequest,
    SearchResponse,
    SearchSessionRequest,
    SearchSessionResponse,
    SessionSearch,
)

Answer = SearchResponse | errors.TamisClientError
ATTEMPTS = 5  # of one search: as many as gRPC makes of a search on a call of its own


class Attempts:
    """One search of a session, which is sent again where the server is away for a moment."""

    def __init__(self, request: SearchRequest, call: Call) -> None:
        self.call = call
        self._request = request
        self._left = ATTEMPTS

    def message(self) -> SearchSessionRequest:
        """What begins the search: one more attempt, with the time that is left."""
        self._left -= 1
        search = SessionSearch(request=self._request)
        if (left_s := self.call.left_s) is not None:
            nanos = round(max(0.0, left_s) * 1e9)
            search.timeout.CopyFrom(Duration(seconds=nanos // 10**9, nanos=nanos % 10**9))
        return SearchSessionRequest(search=search)

    def again_s(self, answer: Answer) -> float | None:
        """Seconds after which to send the search again; None where the answer stands.

        A search that has begun to answer is not: its events would come twice.
        """
        if not isinstance(answer, errors.UnavailableError):
            self._left = 0
            return None
        wait_s, left_s = answer.retry_after, self.call.left_s
        late = wait_s is not None and left_s is not None and left_s <= wait_s
        return wait_s if self._left and not late else None


def answer(message: SearchSessionResponse) -> tuple[str, Answer, bool]:
    """The search that a message is of, what it says, and whether that is the search's end."""
    name = message.request_id
    if message.WhichOneof("outcome") == "failure":
        return name, errors.of_failure(message.failure, name), True
    return name, message.response, message.response.WhichOneof("event") == "summary"


def not_open() -> errors.TamisClientError:
    """What a search raises before the session's block, which begins the stream."""
    return errors.CallCancelledError("the session is not open: use it in a `with` block")


def closed(request_id: str) -> errors.TamisClientError:
    """What searches raise when the session's block is left."""
    return errors.CallCancelledError(
        "the session is closed", request_id=request_id, code=grpc.StatusCode.CANCELLED
    )


def ended(request_id: str) -> errors.TamisClientError:
    """What searches raise when the server ends the stream in peace."""
    return errors.UnavailableError(
        "the server ended the session", request_id=request_id, code=grpc.StatusCode.UNAVAILABLE
    )


def expired(request_id: str) -> errors.TamisClientError:
    """What a search raises whose time is over before the server says so."""
    return errors.DeadlineExceededError(
        "the search's timeout passed",
        request_id=request_id,
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def twice(request_id: str) -> ValueError:
    """What a search raises whose name another one has."""
    return ValueError(f"request_id {request_id!r} is that of a search in flight")
