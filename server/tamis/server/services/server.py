"""ServerService: what the server is and takes."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version

import grpc.aio

from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import EmbeddingCache
from tamis.server.config import Limits, ServerSettings
from tamis.server.tasks import together
from tamis.v1 import server_service_pb2 as pb
from tamis.v1.server_service_pb2_grpc import ServerServiceServicer

Context = grpc.aio.ServicerContext[object, object]


class ServerService(ServerServiceServicer):
    """Tells about the server itself."""

    def __init__(
        self,
        settings: ServerSettings,
        pipelines: Collection[str],
        caches: Sequence[EmbeddingCache | ContextCache],
        drain: Callable[[], None],
    ) -> None:
        self._limits: Limits = settings.limits
        self._pipelines = pipelines
        self._caches = caches
        self._drain = drain

    async def GetServerInfo(  # noqa: N802 - gRPC's names
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        limits = self._limits
        return pb.GetServerInfoResponse(
            version=await asyncio.to_thread(version, "tamis"),  # which reads files
            pipelines=sorted(self._pipelines),
            limits=pb.Limits(
                max_k=limits.max_k,
                max_message_bytes=limits.max_message_bytes,
                max_text_bytes=limits.max_text_bytes,
                max_image_bytes=limits.max_image_bytes,
                max_image_pixels=limits.max_image_pixels,
                max_frames=limits.max_frames,
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
                kind=tier.kind,
            )
            for cache in self._caches
            for tier in cache.stats()
        ]
        return pb.GetCacheStatsResponse(tiers=tiers)

    async def PurgeCache(  # noqa: N802
        self, request: pb.PurgeCacheRequest, context: Context
    ) -> pb.PurgeCacheResponse:
        fingerprint = request.fingerprint if request.HasField("fingerprint") else None
        removed = await together(*(cache.purge(fingerprint) for cache in self._caches))
        return pb.PurgeCacheResponse(removed=sum(removed))
