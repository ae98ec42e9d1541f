"""CollectionService: documents in, out and away."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio

from tamis.models.errors import InputError
from tamis.server.collections import Collections
from tamis.server.config import Limits
from tamis.server.errors import failure_of
from tamis.server.ingest import Ingest
from tamis.server.late_interaction.building import Step
from tamis.server.late_interaction.upkeep import Upkeep
from tamis.server.messages import KINDS, document, weighting, weighting_message, where_clause
from tamis.v1 import collection_service_pb2 as pb
from tamis.v1 import document_pb2, representation_pb2
from tamis.v1.collection_service_pb2_grpc import CollectionServiceServicer

MAX_DELETED_IDS = 10_000
MAX_GOT_IDS = 1_000

_STEPS = {
    Step.SAMPLE: pb.OPTIMIZE_STEP_SAMPLE,
    Step.TRAIN: pb.OPTIMIZE_STEP_TRAIN,
    Step.LIST: pb.OPTIMIZE_STEP_LIST,
    Step.COPY: pb.OPTIMIZE_STEP_COPY,
}

Context = grpc.aio.ServicerContext[object, object]


class CollectionService(CollectionServiceServicer):
    """Keeps the documents that are searched."""

    def __init__(
        self, collections: Collections, ingest: Ingest, upkeep: Upkeep, limits: Limits
    ) -> None:
        self._collections = collections
        self._ingest = ingest
        self._upkeep = upkeep
        self._limits = limits

    async def CreateCollection(  # noqa: N802 - gRPC's names
        self, request: pb.CreateCollectionRequest, context: Context
    ) -> pb.CreateCollectionResponse:
        given = {name: weighting(one) for name, one in request.weightings.items()}
        await self._collections.create(request.name, list(request.vectors), given)
        return pb.CreateCollectionResponse(collection=await self._described(request.name))

    async def DescribeCollection(  # noqa: N802
        self, request: pb.DescribeCollectionRequest, context: Context
    ) -> pb.DescribeCollectionResponse:
        return pb.DescribeCollectionResponse(collection=await self._described(request.name))

    async def ListCollections(  # noqa: N802
        self, request: pb.ListCollectionsRequest, context: Context
    ) -> pb.ListCollectionsResponse:
        names = await self._collections.store.names()
        return pb.ListCollectionsResponse(collections=[await self._described(n) for n in names])

    async def DeleteCollection(  # noqa: N802
        self, request: pb.DeleteCollectionRequest, context: Context
    ) -> pb.DeleteCollectionResponse:
        await self._collections.drop(request.name)
        return pb.DeleteCollectionResponse()

    async def UpsertDocuments(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self, request_iterator: AsyncIterator[pb.UpsertDocumentsRequest], context: Context
    ) -> None:
        collection, upserted, failed = "", 0, 0
        async for request in request_iterator:
            if not collection:
                if not request.collection:
                    raise InputError("collection: must be set in the first message")
                collection = request.collection
                await self._ingest.open(collection, request.documents)
            elif request.collection not in ("", collection):
                raise InputError(
                    f"collection: {request.collection!r}; this stream is for {collection!r}"
                )
            most = self._limits.max_batch_inputs
            if len(request.documents) > most:
                raise InputError(f"documents: {len(request.documents)}; at most {most} a message")
            failures = await self._ingest.upsert(collection, request.documents)
            failed += len(failures)
            upserted += len(request.documents) - len(failures)
            await context.write(
                pb.UpsertDocumentsResponse(
                    upserted=upserted,
                    failed=failed,
                    failures=[
                        document_pb2.DocumentFailure(document_id=name, failure=failure_of(error))
                        for name, error in failures
                    ],
                )
            )

    async def OptimizeCollection(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self, request: pb.OptimizeCollectionRequest, context: Context
    ) -> None:
        schema = await self._collections.schema(request.name)
        progress = self._upkeep.optimize(request.name, schema, retrain=request.retrain)
        async with aclosing(progress) as steps:
            async for step in steps:
                await context.write(
                    pb.OptimizeCollectionResponse(
                        vector=step.vector,
                        step=_STEPS[step.step],
                        done=step.done,
                        total=step.total,
                    )
                )

    async def DeleteDocuments(  # noqa: N802
        self, request: pb.DeleteDocumentsRequest, context: Context
    ) -> pb.DeleteDocumentsResponse:
        where = where_clause(request.filter) if request.HasField("filter") else None
        if bool(request.ids) == (where is not None):
            raise InputError("ids, filter: exactly one must be given, and not an empty filter")
        if len(request.ids) > MAX_DELETED_IDS:
            raise InputError(f"ids: {len(request.ids)}; at most {MAX_DELETED_IDS}")
        which = list(request.ids) if where is None else where
        deleted = await self._collections.delete(request.collection, which)
        return pb.DeleteDocumentsResponse(deleted=deleted)

    async def GetDocuments(  # noqa: N802
        self, request: pb.GetDocumentsRequest, context: Context
    ) -> pb.GetDocumentsResponse:
        if len(request.ids) > MAX_GOT_IDS:
            raise InputError(f"ids: {len(request.ids)}; at most {MAX_GOT_IDS}")
        documents = []
        for payload in await self._collections.payloads(request.collection, list(request.ids)):
            image = None
            if request.view == document_pb2.DOCUMENT_VIEW_FULL:
                image = await self._collections.image(request.collection, payload)
            documents.append(document(payload, request.view, image))
        return pb.GetDocumentsResponse(documents=documents)

    async def _described(self, name: str) -> pb.Collection:
        fields = [
            representation_pb2.VectorField(
                name=field.name,
                kind=KINDS[field.kind],
                dim=field.dim,
                fingerprint=field.fingerprint,
                weighting=weighting_message(field.weighting) if field.weighting else None,
            )
            for field in await self._collections.fields(name)
        ]
        count = await self._collections.store.count(name)
        return pb.Collection(name=name, vectors=fields, documents=count)
