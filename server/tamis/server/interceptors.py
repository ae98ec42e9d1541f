"""Wraps the handlers of the server: every call is named, counted, logged, and ended well."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from structlog.types import FilteringBoundLogger

from tamis.server import logs
from tamis.server.calls import Call, Unreadable
from tamis.server.metrics import Metrics

_KINDS = {  # whether requests and responses stream: what that is called, and how it is made
    (False, False): ("unary", grpc.unary_unary_rpc_method_handler),
    (True, False): ("client_stream", grpc.stream_unary_rpc_method_handler),
    (False, True): ("server_stream", grpc.unary_stream_rpc_method_handler),
    (True, True): ("bidi_stream", grpc.stream_stream_rpc_method_handler),
}
# grpc.aio's handlers and contexts have no useful types.
Handler = Any
Context = Any


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The server's one interceptor.

    - A request id is taken from `x-request-id` or made, sent back, and put on every log line.
    - A request that cannot be parsed ends in INVALID_ARGUMENT, not in INTERNAL.
    - Errors of the table in `errors` become their status. Any other is logged with its traceback
      and is "internal error" to the caller.
    - Each call is counted, and logged in one line when it ends.

    Handlers that are not asynchronous are left alone.

    Args:
        metrics: Where calls are counted.
        log: Where lines go; JSON on stderr by default.
    """

    def __init__(
        self, metrics: Metrics | None = None, log: FilteringBoundLogger | None = None
    ) -> None:
        self._metrics = metrics or Metrics()
        self._log = log or logs.lines()
        # A handler is wrapped once, not once a call.
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method
        known = self._wrapped.get(name)
        if known is None or known[0] is not handler:
            known = self._wrapped[name] = (handler, self._wrap(name, handler))
        return known[1]

    def _wrap(self, name: str, handler: Handler) -> Handler:
        kind, make = _KINDS[handler.request_streaming, handler.response_streaming]
        act = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        generates = inspect.isasyncgenfunction(act)
        if not generates and not inspect.iscoroutinefunction(act):
            return handler
        service, _, method = name.strip("/").rpartition("/")
        counts = self._metrics.call(kind, service, method)

        async def handle(request: Any, context: Context) -> Any:
            call = Call(name, context, counts, self._metrics, self._log)
            return await call.run(act, request, generates=generates)

        return make(handle, _forgiving(handler.request_deserializer), handler.response_serializer)


def _forgiving(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that returns `Unreadable` where the other raises."""
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception as error:  # noqa: BLE001 - protobuf's implementations differ in it
            return Unreadable(f"cannot be read: {error}; is every string UTF-8?")

    return read
