"""What can go wrong in a call.

TamisClientError
├── InvalidRequestError      the request breaks a rule of the API: change it
├── NotFoundError            the collection, model, pipeline or context does not exist
├── AlreadyExistsError       the collection exists already
├── FailedPreconditionError  the request does not fit the collection or the models
├── PermissionDeniedError    the server, or a proxy before it, wants other credentials
├── OverloadedError          the server has no room now: wait `retry_after` seconds
├── DeadlineExceededError    the call took longer than its timeout
├── UnavailableError         the server cannot be reached or is away for a moment: retry
├── UnimplementedError       this server cannot do that (yet)
├── CallCancelledError       the call was cancelled, here or by the server
└── InternalError            a fault of the server, which logs the cause under the request id

A mistake that shows before anything is sent, such as a filter of an unknown form, is a ValueError.
"""

from collections.abc import Iterable

import grpc
from google.protobuf.message import DecodeError

from tamis.v1 import failure_pb2 as wire

TRAILER = "tamis-failure-bin"
PUSHBACK = "grpc-retry-pushback-ms"
# What grpc.aio says when it could not write to a call, whose true status is lost then.
LOST = "Internal error from Core"


class TamisClientError(Exception):
    """Base of every error of a call.

    Attributes:
        message: For people.
        retry_after: How long to wait before retrying, in seconds; None where that is not known to
            help.
        request_id: Under which the server logged the call.
        code: The gRPC status.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        request_id: str = "",
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.request_id = request_id
        self.code = code


class InvalidRequestError(TamisClientError):
    """The request breaks a rule of the API: change it."""


class NotFoundError(TamisClientError):
    """The collection, model, pipeline or context does not exist."""


class AlreadyExistsError(TamisClientError):
    """The collection exists already."""


class FailedPreconditionError(TamisClientError):
    """The request does not fit the collection or the models, such as vectors of another encoder."""


class PermissionDeniedError(TamisClientError):
    """The server, or a proxy before it, wants other credentials."""


class OverloadedError(TamisClientError):
    """The server has no room now: wait `retry_after` seconds, then retry."""


class DeadlineExceededError(TamisClientError):
    """The call took longer than its timeout."""


class UnavailableError(TamisClientError):
    """The server cannot be reached or is away for a moment: retry."""


class UnimplementedError(TamisClientError):
    """This server cannot do that (yet)."""


class CallCancelledError(TamisClientError):
    """The call was cancelled, here or by the server."""


class InternalError(TamisClientError):
    """A fault of the server, which logs the cause under the request id."""


BY_REASON: dict[int, type[TamisClientError]] = {
    wire.REASON_INVALID_REQUEST: InvalidRequestError,
    wire.REASON_NOT_FOUND: NotFoundError,
    wire.REASON_ALREADY_EXISTS: AlreadyExistsError,
    wire.REASON_FAILED_PRECONDITION: FailedPreconditionError,
    wire.REASON_OVERLOADED: OverloadedError,
    wire.REASON_DEADLINE_EXCEEDED: DeadlineExceededError,
    wire.REASON_UNAVAILABLE: UnavailableError,
    wire.REASON_UNIMPLEMENTED: UnimplementedError,
    wire.REASON_INTERNAL: InternalError,
}

# What a proxy, gRPC itself or another server answers comes without our trailer.
BY_CODE: dict[grpc.StatusCode, type[TamisClientError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.ABORTED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.INTERNAL: InternalError,
}
# Where several codes mean the same error, the first of them stands for it.
CODES = {kind: code for code, kind in reversed(BY_CODE.items())}


def of_status(
    code: grpc.StatusCode,
    details: str | None,
    trailers: Iterable[tuple[str, str | bytes]] | None,
    request_id: str,
) -> TamisClientError:
    """The error of a call that failed as a whole.

    The failure in the trailer says more than the status; without one the status decides.
    """
    pairs = dict(trailers or ())
    failure = _failure(pairs.get(TRAILER))
    if failure is not None:
        return of_failure(failure, request_id, code, details)
    kind = BY_CODE.get(code, InternalError)
    pushback = str(pairs.get(PUSHBACK, ""))
    wait = int(pushback) / 1000 if pushback.isdecimal() else None
    message = details or code.name
    if kind is OverloadedError and "larger than max" in message:
        kind = InvalidRequestError  # gRPC's own words for a message over the limit
    elif message == LOST:
        kind, message = UnavailableError, "the server ended the call in the middle of a message"
    return kind(message, retry_after=wait, request_id=request_id, code=code)


def of_failure(
    failure: wire.Failure,
    request_id: str,
    code: grpc.StatusCode | None = None,
    details: str | None = None,
) -> TamisClientError:
    """The error of a failure: of a whole call, whose status is known, or of one search in it."""
    kind = BY_REASON.get(failure.reason)
    if kind is None:
        kind = InternalError if code is None else BY_CODE.get(code, InternalError)
    if code is None:
        code = CODES[kind]
    wait = failure.retry_after_ms / 1000 if failure.HasField("retry_after_ms") else None
    message = failure.message or details or code.name
    return kind(message, retry_after=wait, request_id=request_id, code=code)


def again(error: TamisClientError, request_id: str) -> TamisClientError:
    """The same error for another caller: each raises one of its own."""
    return type(error)(
        error.message, retry_after=error.retry_after, request_id=request_id, code=error.code
    )


def of_call(error: grpc.RpcError, request_id: str) -> TamisClientError:
    """The error of a gRPC exception, of the blocking or the asyncio kind."""
    # Every RpcError that a call raises is a Call too, which the types do not say.
    call: grpc.Call = error  # type: ignore[assignment]
    return of_status(call.code(), call.details(), call.trailing_metadata(), request_id)


def _failure(trailer: str | bytes | None) -> wire.Failure | None:
    if not isinstance(trailer, bytes):
        return None
    try:
        return wire.Failure.FromString(trailer)
    except DecodeError:
        return None
