"""One call: its name, its log line, its metrics, and how it may fail."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from structlog.types import FilteringBoundLogger

from tamis.models.errors import InputError
from tamis.server import admission, errors, logs
from tamis.server.metrics import CallMetrics, Metrics

REQUEST_ID: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"
MAX_ID = 128  # characters; a longer request id is replaced by one of ours
# A client's own deadline reaches us as a cancel, a moment before ours would pass.
EXPIRED_S = 0.02

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# As go-grpc spells them, because dashboards are written for it.
_GO_CODES = {code: code.name.title().replace("_", "") for code in grpc.StatusCode} | {
    grpc.StatusCode.OK: "OK",
    grpc.StatusCode.CANCELLED: "Canceled",
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_SEVERE = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}

Context = Any  # grpc.aio's contexts have no useful types


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a request that protobuf could not parse.

    Attributes:
        why: For the caller.
    """

    why: str


class Call:
    """One call, and the context that its handler sees.

    The request id is sent back in the trailers. Headers of our own would cost a tenth of a short
    call, and would commit it: a client would no longer retry a refusal.

    Args:
        name: Its method, with the service's name before it.
        context: gRPC's.
        counts: Of this method's calls.
        metrics: Of all.
        log: Where its line goes.
    """

    def __init__(
        self,
        name: str,
        context: Context,
        counts: CallMetrics,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._name = name
        self._context = context
        self._counts = counts
        self._metrics = metrics
        self._log = log
        self._began = time.perf_counter()
        self._aborted: grpc.aio.AbortError | None = None
        self._refused: InputError | None = None
        self._code: grpc.StatusCode | None = None
        self._unforeseen: BaseException | None = None
        metadata = dict(context.invocation_metadata())
        self._id = _request_id(metadata.get(REQUEST_ID))
        self._trace = metadata.get(TRACEPARENT)
        # Not when the call has ended: gRPC may have let go of it, and would crash.
        self._peer = context.peer()
        admission.tenant.set(metadata.get(admission.TENANT, "")[: admission.MAX_TENANT])
        logs.request_id.set(self._id)
        # Past __getattr__, because they are used most.
        self.write = context.write
        self.time_remaining = context.time_remaining
        context.set_trailing_metadata(((REQUEST_ID, self._id),))
        context.add_done_callback(self._end)  # when the status has been sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def run(self, act: Callable[..., Any], request: Any, *, generates: bool) -> Any:
        """Runs the handler, and sees to it that the call ends as it should."""
        self._counts.started()
        try:
            return await self._run(act, request, generates=generates)
        except asyncio.CancelledError:
            self._gone()
            raise
        except grpc.aio.AbortError:
            raise
        except grpc.aio.InternalError:  # a write to a client that has left
            self._gone()
            raise
        except grpc.aio.BaseError as error:  # the call is over, or the server is
            self._code, self._unforeseen = grpc.StatusCode.UNKNOWN, error
            raise
        except Exception as error:
            if self._aborted is not None:  # gRPC insists on the very same exception
                raise self._aborted from error
            await self._fail(self._refused or _only(error))
            raise  # not reached: to abort is to raise

    async def read(self) -> Any:
        return self.readable(await self._context.read())

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        own = (REQUEST_ID, self._id)
        self._context.set_trailing_metadata((*trailing_metadata, own))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> None:
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        try:
            await self._context.abort(code, details)
        except grpc.aio.AbortError as error:
            self._aborted = error
            raise

    async def abort_with_status(self, status: Any) -> None:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def readable(self, request: Any) -> Any:
        """The request.

        Raises:
            InputError: It could not be parsed.
        """
        if isinstance(request, Unreadable):
            self._refused = InputError(f"request: {request.why}")
            raise self._refused
        return request

    async def _run(self, act: Callable[..., Any], request: Any, *, generates: bool) -> Any:
        if hasattr(request, "__aiter__"):
            request = _Requests(self, request)
        else:
            self.readable(request)
        if not generates:
            return await act(request, self)
        async with aclosing(act(request, self)) as responses:
            async for response in responses:
                await self.write(response)
        return None

    async def _fail(self, error: Exception) -> None:
        if errors.status_of(error) is errors.INTERNAL:
            self._unforeseen = error
        await errors.abort(self, error)  # type: ignore[arg-type]

    def _gone(self) -> None:
        """The caller has left, or its time is up."""
        left_s = self._context.time_remaining()
        if left_s is not None and left_s < EXPIRED_S:
            self._code = grpc.StatusCode.DEADLINE_EXCEEDED
            self._metrics.deadline_expired("call")
        else:
            self._code = grpc.StatusCode.CANCELLED
            self._metrics.cancelled("call")

    def _end(self, _: Context) -> None:
        seconds = time.perf_counter() - self._began
        code = self._code or _code(self._context.code())
        self._counts.handled(_GO_CODES[code], seconds)
        more: dict[str, object] = {}
        if self._trace is not None and _TRACEPARENT.fullmatch(self._trace):
            more[TRACEPARENT] = self._trace
        if self._unforeseen is not None:
            more["exc_info"] = self._unforeseen
        log = self._log.error if code in _SEVERE else self._log.info
        log(
            "call",
            request_id=self._id,
            method=self._name,
            code=code.name,
            duration_ms=round(1e3 * seconds, 3),
            peer=self._peer,
            **more,
        )


class _Requests:
    """A stream's requests, up to one that cannot be read."""

    def __init__(self, call: Call, requests: AsyncIterator[Any]) -> None:
        self._call = call
        self._requests = requests

    def __aiter__(self) -> "_Requests":
        return self

    async def __anext__(self) -> Any:
        return self._call.readable(await anext(self._requests))


def _request_id(given: str | None) -> str:
    if given and len(given) <= MAX_ID and given.isascii() and given.isprintable():
        return given
    return os.urandom(16).hex()


def _only(error: Exception) -> Exception:
    """The error itself, where a task group has wrapped it alone."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _code(code: object) -> grpc.StatusCode:
    """What a context says: a code, its number, or None for OK."""
    if isinstance(code, grpc.StatusCode):
        return code
    return _BY_NUMBER.get(code or 0, grpc.StatusCode.UNKNOWN)  # type: ignore[call-overload]
