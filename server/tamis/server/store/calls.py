"""How a call to an index is made, and what its errors mean."""

import math
from contextvars import ContextVar
from typing import Any

import grpc as rpc
from google.protobuf.message import Message
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import RestToGrpc

from tamis.models.errors import InputError, SettingsError, TamisError
from tamis.server.store import (
    CollectionExistsError,
    DamagedCollectionError,
    StoreFullError,
    StoreUnavailableError,
    UnknownCollectionError,
    UnsupportedByIndexError,
    payloads,
)

_ERRORS: dict[rpc.StatusCode, type[TamisError]] = {
    rpc.StatusCode.NOT_FOUND: UnknownCollectionError,
    rpc.StatusCode.ALREADY_EXISTS: CollectionExistsError,
    rpc.StatusCode.INVALID_ARGUMENT: InputError,
    rpc.StatusCode.OUT_OF_RANGE: InputError,
    rpc.StatusCode.UNIMPLEMENTED: UnsupportedByIndexError,
    rpc.StatusCode.FAILED_PRECONDITION: DamagedCollectionError,
    rpc.StatusCode.RESOURCE_EXHAUSTED: StoreFullError,
}
# Whether reads wait for an index that is starting again, as writes do: those of a call that writes.
reads_wait: ContextVar[bool] = ContextVar("reads_wait", default=False)
_REFUSED = (rpc.StatusCode.UNAUTHENTICATED, rpc.StatusCode.PERMISSION_DENIED)


class QdrantCalls:
    """Calls of Qdrant's gRPC API, with what the settings say of all of them."""

    def __init__(
        self,
        channel: rpc.aio.Channel,
        *,
        timeout_s: float,
        api_key: str = "",
        consistency: str = "",
        ordering: str = "",
    ) -> None:
        """A store over a connection, which it closes.

        Args:
            channel: From `channel_to`.
            timeout_s: How long one call may take, its repetitions included, in seconds.
            api_key: What the cluster wants to see; empty for none.
            consistency: How many of a cluster's replicas a read asks: a number, or `majority`,
                `quorum` or `all`; empty for one.
            ordering: How a cluster orders writes: `weak`, `medium` or `strong`; empty for weak.
        """
        self._channel = channel
        self._timeout_s = timeout_s
        self._metadata = (payloads.METADATA, *([("api-key", api_key)] if api_key else []))
        self._asked = {
            "timeout": math.ceil(timeout_s),
            "read_consistency": consistency_of(consistency),
            "ordering": ordering_of(ordering),
        }
        self._collections = grpc.CollectionsStub(channel)  # type: ignore[no-untyped-call]
        self._points = grpc.PointsStub(channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._channel.close()

    async def _call(self, method: Any, request: Message, *, timeout_s: float | None = None) -> Any:
        for name, value in self._asked.items():
            if value is not None and name in request.DESCRIPTOR.fields_by_name:
                _set(request, name, value)
        try:
            return await method(
                request,
                timeout=timeout_s or self._timeout_s,
                metadata=self._metadata,
                wait_for_ready=reads_wait.get() or None,
            )
        except rpc.aio.AioRpcError as error:
            raise _error(error) from error


def consistency_of(text: str) -> grpc.ReadConsistency | None:
    """How many replicas a read asks, as Qdrant has it; None for what the cluster does by itself.

    Raises:
        ValueError: It is no number above 0 and none of the words.
    """
    if not text:
        return None
    if text.isdecimal() and int(text):
        return grpc.ReadConsistency(factor=int(text))
    return RestToGrpc.convert_read_consistency(models.ReadConsistencyType(text))


def ordering_of(text: str) -> grpc.WriteOrdering | None:
    """How writes are ordered, as Qdrant has it; None for what the cluster does by itself.

    Raises:
        ValueError: It is none of the words.
    """
    return RestToGrpc.convert_write_ordering(models.WriteOrdering(text)) if text else None


def _set(request: Message, name: str, value: Any) -> None:
    if isinstance(value, Message):
        getattr(request, name).CopyFrom(value)
    else:
        setattr(request, name, value)


def _error(error: rpc.aio.AioRpcError) -> TamisError:
    """Our error for a status."""
    code, details = error.code(), error.details() or "no details"
    if "larger than max" in details:
        return InputError(details)
    if code in _REFUSED:
        return SettingsError(f"store.api_key: the index refuses it: {details}")
    if code in _ERRORS:
        return _ERRORS[code](details)
    return StoreUnavailableError(f"the index does not answer: {code.name}: {details}")
