"""ServerService and ModelService: what the server is, takes and runs."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import NoReturn

import grpc.aio

from tamis.server.cache.embeddings import EmbeddingCache
from tamis.server.config import Limits, ServerSettings
from tamis.server.encoders import Encoders
from tamis.server.errors import UnimplementedError
from tamis.server.messages import KINDS
from tamis.v1 import model_service_pb2, representation_pb2
from tamis.v1 import server_service_pb2 as pb
from tamis.v1.model_service_pb2_grpc import ModelServiceServicer
from tamis.v1.server_service_pb2_grpc import ServerServiceServicer

Context = grpc.aio.ServicerContext[object, object]


class ServerService(ServerServiceServicer):
    """Tells about the server itself."""

    def __init__(
        self,
        settings: ServerSettings,
        pipelines: Collection[str],
        cache: EmbeddingCache,
        drain: Callable[[], None],
    ) -> None:
        self._limits: Limits = settings.limits
        self._pipelines = pipelines
        self._cache = cache
        self._drain = drain

    async def GetServerInfo(  # noqa: N802 - gRPC's names
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        limits = self._limits
        return pb.GetServerInfoResponse(
            version=version("tamis"),
            pipelines=sorted(self._pipelines),
            limits=pb.Limits(
                max_k=limits.max_k,
                max_message_bytes=limits.max_message_bytes,
                max_text_bytes=limits.max_text_bytes,
                max_image_bytes=limits.max_image_bytes,
                max_image_pixels=limits.max_image_pixels,
                max_batch_inputs=limits.max_batch_inputs,
                max_in_flight=limits.max_in_flight,
            ),
        )

    async def Drain(  # noqa: N802
        self, request: pb.DrainRequest, context: Context
    ) -> pb.DrainResponse:
        self._drain()
        return pb.DrainResponse()

    async def GetCacheStats(  # noqa: N802
        self, request: pb.GetCacheStatsRequest, context: Context
    ) -> pb.GetCacheStatsResponse:
        tiers = [
            pb.CacheTier(
                tier=tier.tier,
                hits=tier.hits,
                misses=tier.misses,
                errors=tier.errors,
                bytes=tier.bytes,
            )
            for tier in self._cache.stats()
        ]
        return pb.GetCacheStatsResponse(tiers=tiers)

    async def PurgeCache(  # noqa: N802
        self, request: pb.PurgeCacheRequest, context: Context
    ) -> pb.PurgeCacheResponse:
        fingerprint = request.fingerprint if request.HasField("fingerprint") else None
        return pb.PurgeCacheResponse(removed=await self._cache.purge(fingerprint))


class ModelService(ModelServiceServicer):
    """Tells which models the server runs."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    async def ListModels(  # noqa: N802
        self, request: model_service_pb2.ListModelsRequest, context: Context
    ) -> model_service_pb2.ListModelsResponse:
        models = [self._model(name) for name in sorted(self._encoders.names)]
        return model_service_pb2.ListModelsResponse(models=models)

    async def GetModel(  # noqa: N802
        self, request: model_service_pb2.GetModelRequest, context: Context
    ) -> model_service_pb2.GetModelResponse:
        return model_service_pb2.GetModelResponse(model=self._model(request.name))

    async def LoadModel(self, request: object, context: object) -> NoReturn:  # noqa: N802
        raise UnimplementedError("models cannot be loaded while serving yet; restart the server")

    async def UnloadModel(self, request: object, context: object) -> NoReturn:  # noqa: N802
        raise UnimplementedError("models cannot be unloaded while serving yet; restart the server")

    def _model(self, name: str) -> model_service_pb2.Model:
        encoder = self._encoders[name]
        heads = [
            representation_pb2.VectorField(
                name=f"{name}.{head}",
                kind=KINDS[made.kind],
                dim=made.dim,
                fingerprint=encoder.fingerprint,
            )
            for head, made in encoder.heads.items()
        ]
        return model_service_pb2.Model(
            name=name,
            family="encoder",
            method=type(encoder).__module__.rpartition(".")[2],
            fingerprint=encoder.fingerprint,
            heads=heads,
            runtime=encoder.runtime,
            modalities=sorted(encoder.modalities),
        )
