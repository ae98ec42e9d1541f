"""The protocol's calls as gRPC handlers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from tamis.server.errors import UnimplementedError
from tamis.server.oip import messages

Context = grpc.aio.ServicerContext[Any, Any]

UNARY: Final = (
    *("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig"),
    *("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
)
UNIMPLEMENTED: Final = {
    **dict.fromkeys(
        (
            *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister"),
            *("SystemSharedMemoryUnregister", "CudaSharedMemoryStatus"),
            *("CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
        ),
        "there is no shared memory here; send tensors in the call",
    ),
    "TraceSetting": "traces are not set here; send a traceparent, and read the server's log",
    "LogSettings": "the log is not set here",
}


def handlers(service: Any) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """A handler for each call, by name; `service` has a method of that name."""
    made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for name in UNARY:
        made[name] = grpc.unary_unary_rpc_method_handler(
            getattr(service, name),
            request_deserializer=messages.message(f"{name}Request").FromString,
            response_serializer=messages.message(f"{name}Response").SerializeToString,
        )
    # These two answer in bytes: see `wire`.
    made["ModelInfer"] = grpc.unary_unary_rpc_method_handler(
        service.ModelInfer, request_deserializer=messages.ModelInferRequest.FromString
    )
    made["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        service.ModelStreamInfer, request_deserializer=messages.ModelInferRequest.FromString
    )
    for name, reason in UNIMPLEMENTED.items():
        made[name] = grpc.unary_unary_rpc_method_handler(_refusal(reason))
    return made


def _refusal(reason: str) -> Callable[[Any, Any], Awaitable[NoReturn]]:
    async def refuse(request: bytes, context: Context) -> NoReturn:
        raise UnimplementedError(reason)

    return refuse
