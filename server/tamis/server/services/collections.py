"""CollectionService: documents in, out and away."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.collections import Collections, check_name
from tamis.server.config import Limits
from tamis.server.errors import failure_of
from tamis.server.ingest import Ingest
from tamis.server.late_interaction.building import Step
from tamis.server.late_interaction.upkeep import Upkeep
from tamis.server.messages import KINDS, document, weighting, weighting_message, where_clause
from tamis.server.schemas import indexes_of
from tamis.server.snapshots import Snapshot, Snapshots
from tamis.server.store import DamagedCollectionError
from tamis.server.store.calls import reads_wait
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
_FIELD_TYPES = {
    pb.FIELD_TYPE_TEXT: models.PayloadSchemaType.KEYWORD,
    pb.FIELD_TYPE_INTEGER: models.PayloadSchemaType.INTEGER,
    pb.FIELD_TYPE_NUMBER: models.PayloadSchemaType.FLOAT,
    pb.FIELD_TYPE_BOOL: models.PayloadSchemaType.BOOL,
}
_NUMBERS = {kind: number for number, kind in _FIELD_TYPES.items()}

Context = grpc.aio.ServicerContext[object, object]


class CollectionService(CollectionServiceServicer):
    """Keeps the documents that are searched."""

    def __init__(
        self,
        collections: Collections,
        snapshots: Snapshots,
        ingest: Ingest,
        upkeep: Upkeep,
        limits: Limits,
    ) -> None:
        self._collections = collections
        self._snapshots = snapshots
        self._ingest = ingest
        self._upkeep = upkeep
        self._limits = limits

    async def CreateCollection(  # noqa: N802 - gRPC's names
        self, request: pb.CreateCollectionRequest, context: Context
    ) -> pb.CreateCollectionResponse:
        given = {name: weighting(one) for name, one in request.weightings.items()}
        indexes = {name: _field_type(name, kind) for name, kind in request.indexes.items()}
        await self._collections.create(request.name, list(request.vectors), given, indexes)
        return pb.CreateCollectionResponse(collection=await self._described(request.name))

    async def DescribeCollection(  # noqa: N802
        self, request: pb.DescribeCollectionRequest, context: Context
    ) -> pb.DescribeCollectionResponse:
        name = await self._resolve(request.name)
        return pb.DescribeCollectionResponse(collection=await self._described(name))

    async def ListCollections(  # noqa: N802
        self, request: pb.ListCollectionsRequest, context: Context
    ) -> pb.ListCollectionsResponse:
        names = await self._collections.store.names()
        return pb.ListCollectionsResponse(collections=[await self._listed(n) for n in names])

    async def DeleteCollection(  # noqa: N802
        self, request: pb.DeleteCollectionRequest, context: Context
    ) -> pb.DeleteCollectionResponse:
        await self._collections.drop(request.name)
        return pb.DeleteCollectionResponse()

    async def UpsertDocuments(  # type: ignore[override]  # noqa: N802 - writes, never yields
        self, request_iterator: AsyncIterator[pb.UpsertDocumentsRequest], context: Context
    ) -> None:
        reads_wait.set(True)
        named, collection, upserted, failed = "", "", 0, 0
        async for request in request_iterator:
            if not named:
                if not request.collection:
                    raise InputError("collection: must be set in the first message")
                named = request.collection
                collection = await self._resolve(named)  # for the whole stream
                await self._ingest.open(collection, request.documents)
            elif request.collection not in ("", named):
                raise InputError(
                    f"collection: {request.collection!r}; this stream is for {named!r}"
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
        name = await self._resolve(request.name)
        schema = await self._collections.schema(name)
        progress = self._upkeep.optimize(name, schema, retrain=request.retrain)
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
        reads_wait.set(True)
        which = list(request.ids) if where is None else where
        name = await self._resolve(request.collection)
        deleted = await self._collections.documents.delete(name, which)
        return pb.DeleteDocumentsResponse(deleted=deleted)

    async def GetDocuments(  # noqa: N802
        self, request: pb.GetDocumentsRequest, context: Context
    ) -> pb.GetDocumentsResponse:
        if len(request.ids) > MAX_GOT_IDS:
            raise InputError(f"ids: {len(request.ids)}; at most {MAX_GOT_IDS}")
        documents, name = [], await self._resolve(request.collection)
        for payload in await self._collections.documents.payloads(name, list(request.ids)):
            image = None
            if request.view == document_pb2.DOCUMENT_VIEW_FULL:
                image = await self._collections.documents.image(name, payload)
            documents.append(document(payload, request.view, image))
        return pb.GetDocumentsResponse(documents=documents)

    async def SetAlias(  # noqa: N802
        self, request: pb.SetAliasRequest, context: Context
    ) -> pb.SetAliasResponse:
        check_name(request.alias)
        previous = await self._collections.aliases.set(request.alias, request.collection)
        return pb.SetAliasResponse(previous=previous)

    async def DeleteAlias(  # noqa: N802
        self, request: pb.DeleteAliasRequest, context: Context
    ) -> pb.DeleteAliasResponse:
        await self._collections.aliases.drop(request.alias)
        return pb.DeleteAliasResponse()

    async def CreateSnapshot(  # noqa: N802
        self, request: pb.CreateSnapshotRequest, context: Context
    ) -> pb.CreateSnapshotResponse:
        made = await self._snapshots.create(await self._resolve(request.collection))
        return pb.CreateSnapshotResponse(snapshot=_snapshot(made))

    async def ListSnapshots(  # noqa: N802
        self, request: pb.ListSnapshotsRequest, context: Context
    ) -> pb.ListSnapshotsResponse:
        found = await self._snapshots.listed(await self._resolve(request.collection))
        return pb.ListSnapshotsResponse(snapshots=[_snapshot(one) for one in found])

    async def DeleteSnapshot(  # noqa: N802
        self, request: pb.DeleteSnapshotRequest, context: Context
    ) -> pb.DeleteSnapshotResponse:
        name = await self._resolve(request.collection)
        await self._snapshots.delete(name, request.snapshot)
        return pb.DeleteSnapshotResponse()

    async def RestoreSnapshot(  # noqa: N802
        self, request: pb.RestoreSnapshotRequest, context: Context
    ) -> pb.RestoreSnapshotResponse:
        name = await self._resolve(request.collection)
        await self._snapshots.restore(name, request.snapshot, request.name)
        return pb.RestoreSnapshotResponse(collection=await self._described(request.name))

    async def _resolve(self, name: str) -> str:
        return await self._collections.aliases.resolve(name)

    async def _listed(self, name: str) -> pb.Collection:
        try:
            return await self._described(name)
        except DamagedCollectionError as error:
            return pb.Collection(name=name, damage=str(error))

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
        kinds = indexes_of(await self._collections.schema(name))
        return pb.Collection(
            name=name,
            vectors=fields,
            documents=await self._collections.store.count(name),
            aliases=await self._collections.aliases.of(name),
            indexes={key: _NUMBERS[kind] for key, kind in kinds.items()},
        )


def _field_type(name: str, number: pb.FieldType.ValueType) -> models.PayloadSchemaType:
    if number not in _FIELD_TYPES:
        raise InputError(f"indexes.{name}: says not what the field holds")
    return _FIELD_TYPES[number]


def _snapshot(one: Snapshot) -> pb.Snapshot:
    return pb.Snapshot(
        name=one.name,
        collection=one.collection,
        created=one.created,
        documents=one.documents,
        size_bytes=one.size_bytes,
    )
