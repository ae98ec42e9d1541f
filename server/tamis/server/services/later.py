"""Services whose calls are still to come: each answers UNIMPLEMENTED and says what is missing."""

from typing import NoReturn

from tamis.server.errors import UnimplementedError
from tamis.v1.refine_service_pb2_grpc import RefineServiceServicer
from tamis.v1.rerank_service_pb2_grpc import RerankServiceServicer


class RerankService(RerankServiceServicer):
    """Orders documents without searching a collection."""

    async def Rerank(self, request: object, context: object) -> NoReturn:  # noqa: N802 - gRPC's name
        raise UnimplementedError("Rerank by itself is not there yet; Search reranks")


class RefineService(RefineServiceServicer):
    """Turns documents into contexts without searching a collection."""

    async def Refine(self, request: object, context: object) -> NoReturn:  # noqa: N802 - gRPC's name
        raise UnimplementedError("Refine by itself is not there yet; Search refines")

    async def GetContext(self, request: object, context: object) -> NoReturn:  # type: ignore[override]  # noqa: N802
        raise UnimplementedError("contexts are not kept yet; Search sends them whole")
