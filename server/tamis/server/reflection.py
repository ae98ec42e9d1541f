"""Server reflection under both of its names, so that every gRPC tool finds the services."""

from collections.abc import Iterable

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1 = "grpc.reflection.v1.ServerReflection"


def enable(names: Iterable[str], server: grpc.aio.Server) -> None:
    """Lets clients ask the server what it serves.

    The library knows v1alpha only. The messages of v1 are the same on the wire, so one servicer
    answers both.
    """
    listed = (*names, reflection.SERVICE_NAME, V1)
    reflection.enable_server_reflection(listed, server)
    method = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(listed).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))
