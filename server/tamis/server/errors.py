"""The one place where an error becomes a status on the wire."""

import logging
from typing import NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tamis.models.errors import InputError, ModelError, SettingsError, TamisError
from tamis.server.archives import DamagedSnapshotError
from tamis.server.cache import ContextsUnavailableError, NotRememberedError
from tamis.server.store import (
    CollectionExistsError,
    DamagedCollectionError,
    StoreFullError,
    StoreUnavailableError,
    UnknownCollectionError,
    UnsupportedByIndexError,
)
from tamis.server.store.pictures import UnknownPictureError
from tamis.v1 import failure_pb2 as pb

logger = logging.getLogger(__name__)

DOMAIN = "tamis"


class OverloadedError(TamisError):
    """The server has no room now; the caller may retry."""


class DeadlineError(TamisError):
    """The deadline passed before there was anything to answer."""


class DrainingError(TamisError):
    """The server is going away; another one may answer."""


class NotFoundError(TamisError):
    """There is nothing of that name."""


class MismatchError(TamisError):
    """The request does not fit the collection or the models that the server has."""


class UnimplementedError(TamisError):
    """This server cannot do that yet; the message says what is missing."""


class Status(NamedTuple):
    """How one kind of error looks to a client."""

    code: grpc.StatusCode  # when it ends the call
    reason: pb.Reason.ValueType  # when it fails one item, and in the trailer
    retry_after_ms: int | None = None


_Code = grpc.StatusCode
STATUS: dict[type[BaseException], Status] = {
    InputError: Status(_Code.INVALID_ARGUMENT, pb.REASON_INVALID_REQUEST),
    UnknownCollectionError: Status(_Code.NOT_FOUND, pb.REASON_NOT_FOUND),
    UnknownPictureError: Status(_Code.NOT_FOUND, pb.REASON_NOT_FOUND),
    NotFoundError: Status(_Code.NOT_FOUND, pb.REASON_NOT_FOUND),
    NotRememberedError: Status(_Code.NOT_FOUND, pb.REASON_NOT_FOUND),
    CollectionExistsError: Status(_Code.ALREADY_EXISTS, pb.REASON_ALREADY_EXISTS),
    SettingsError: Status(_Code.FAILED_PRECONDITION, pb.REASON_FAILED_PRECONDITION),
    ModelError: Status(_Code.FAILED_PRECONDITION, pb.REASON_FAILED_PRECONDITION),
    MismatchError: Status(_Code.FAILED_PRECONDITION, pb.REASON_FAILED_PRECONDITION),
    OverloadedError: Status(_Code.RESOURCE_EXHAUSTED, pb.REASON_OVERLOADED, 50),
    DeadlineError: Status(_Code.DEADLINE_EXCEEDED, pb.REASON_DEADLINE_EXCEEDED),
    ContextsUnavailableError: Status(_Code.UNAVAILABLE, pb.REASON_UNAVAILABLE, 200),
    DamagedSnapshotError: Status(_Code.FAILED_PRECONDITION, pb.REASON_FAILED_PRECONDITION),
    DamagedCollectionError: Status(_Code.FAILED_PRECONDITION, pb.REASON_FAILED_PRECONDITION),
    StoreFullError: Status(_Code.RESOURCE_EXHAUSTED, pb.REASON_OVERLOADED, 500),
    # An index engine that was lost is there again in one to three seconds.
    StoreUnavailableError: Status(_Code.UNAVAILABLE, pb.REASON_UNAVAILABLE, 1_000),
    UnsupportedByIndexError: Status(_Code.UNIMPLEMENTED, pb.REASON_UNIMPLEMENTED),
    DrainingError: Status(_Code.UNAVAILABLE, pb.REASON_UNAVAILABLE, 50),
    UnimplementedError: Status(_Code.UNIMPLEMENTED, pb.REASON_UNIMPLEMENTED),
}
INTERNAL = Status(_Code.INTERNAL, pb.REASON_INTERNAL)


def status_of(error: BaseException) -> Status:
    """The nearest entry among the error's base classes; INTERNAL for what nobody foresaw."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), INTERNAL)


def failure_of(error: BaseException) -> pb.Failure:
    """The error as one item's outcome. The cause of an unforeseen one stays in the log."""
    status = status_of(error)
    message = "internal error" if status is INTERNAL else str(error)
    return pb.Failure(reason=status.reason, message=message, retry_after_ms=status.retry_after_ms)


def logged(error: Exception) -> Exception:
    """The error, which the log holds if nobody foresaw it: the caller is told no more of it."""
    if status_of(error) is INTERNAL:
        logger.error("an item failed", exc_info=error)
    return error


async def abort(context: "grpc.aio.ServicerContext[object, object]", error: TamisError) -> NoReturn:
    """Ends the call with the error's status, its google.rpc details and our own trailer."""
    status, failure = status_of(error), failure_of(error)
    rich = status_pb2.Status(code=status.code.value[0], message=failure.message)
    reason = pb.Reason.Name(status.reason)
    rich.details.append(_packed(error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason)))
    trailers: list[tuple[str, str | bytes]] = [("tamis-failure-bin", failure.SerializeToString())]
    if status.reason == pb.REASON_INVALID_REQUEST:
        field, _, description = failure.message.partition(": ")
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=description or failure.message
        )
        rich.details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if status.retry_after_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(status.retry_after_ms)
        rich.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
        trailers.append(("grpc-retry-pushback-ms", str(status.retry_after_ms)))
    trailers.append(("grpc-status-details-bin", rich.SerializeToString()))
    await context.abort(status.code, failure.message, tuple(trailers))
    raise AssertionError("abort always raises")


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
