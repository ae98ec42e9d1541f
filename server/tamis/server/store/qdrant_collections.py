"""Collections as a whole, over Qdrant's gRPC API."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import (
    GrpcToRest,
    RestToGrpc,
    grpc_to_payload,
    payload_to_grpc,
)

from tamis.server.store import (
    AliasChange,
    CollectionSchema,
    UnknownCollectionError,
    UnsupportedByIndexError,
)
from tamis.server.store.calls import QdrantCalls

# To copy a large collection takes minutes, on the engine's machine, which is this one.
FILES_TIMEOUT_S = 3_600.0
# Of our engine alone; see `engine.files`.
_COPY, _ADOPT = "/tamis.Engine/CopyFiles", "/tamis.Engine/AdoptFiles"


class QdrantCollections(QdrantCalls):
    """What a `VectorStore` does with collections as a whole."""

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        await self._call(
            self._collections.Create,
            grpc.CreateCollection(
                collection_name=collection,
                vectors_config=(
                    RestToGrpc.convert_vectors_config(dict(schema.vectors))
                    if schema.vectors
                    else None
                ),
                sparse_vectors_config=(
                    RestToGrpc.convert_sparse_vector_config(dict(schema.sparse))
                    if schema.sparse
                    else None
                ),
                metadata=payload_to_grpc(dict(schema.metadata)),
            ),
        )
        for name, kind in schema.indexes.items():
            await self._call(
                self._points.CreateFieldIndex,
                grpc.CreateFieldIndexCollection(
                    collection_name=collection,
                    wait=True,
                    field_name=name,
                    field_type=_field_type(kind),
                ),
            )

    async def drop(self, collection: str) -> None:
        response = await self._call(
            self._collections.Delete, grpc.DeleteCollection(collection_name=collection)
        )
        if not response.result:  # a cluster's way to say that there was none
            raise UnknownCollectionError(f"no collection {collection!r}")

    async def names(self) -> list[str]:
        response = await self._call(self._collections.List, grpc.ListCollectionsRequest())
        return sorted(description.name for description in response.collections)

    async def schema(self, collection: str) -> CollectionSchema:
        response = await self._call(
            self._collections.Get, grpc.GetCollectionInfoRequest(collection_name=collection)
        )
        config = response.result.config
        vectors, sparse = config.params.vectors_config, config.params.sparse_vectors_config
        return CollectionSchema(
            vectors={
                name: GrpcToRest.convert_vector_params(vectors.params_map.map[name])
                for name in vectors.params_map.map
            },
            sparse={
                name: GrpcToRest.convert_sparse_vector_params(sparse.map[name])
                for name in sparse.map
            },
            metadata=grpc_to_payload(config.metadata),
            indexes={
                name: GrpcToRest.convert_payload_schema_type(one.data_type)
                for name, one in response.result.payload_schema.items()
            },
        )

    async def aliases(self) -> dict[str, str]:
        response = await self._call(self._collections.ListAliases, grpc.ListAliasesRequest())
        return {one.alias_name: one.collection_name for one in response.aliases}

    async def update_aliases(self, changes: Sequence[AliasChange]) -> None:
        await self._call(
            self._collections.UpdateAliases,
            grpc.ChangeAliases(
                actions=[RestToGrpc.convert_alias_operations(change) for change in changes]
            ),
        )

    async def copy_files(self, collection: str, folder: Path) -> int:
        answer = await self._files(_COPY, collection, folder)
        return int(answer.fields["documents"].number_value)

    async def adopt_files(self, collection: str, folder: Path) -> None:
        await self._files(_ADOPT, collection, folder)

    async def _files(self, name: str, collection: str, folder: Path) -> Struct:
        request = Struct()
        request.update({"collection": collection, "folder": str(folder)})
        method = self._channel.unary_unary(
            name,
            request_serializer=Struct.SerializeToString,
            response_deserializer=Struct.FromString,
        )
        try:
            return await self._call(method, request, timeout_s=FILES_TIMEOUT_S)
        except UnsupportedByIndexError as error:
            raise UnsupportedByIndexError(
                "a cluster's snapshots are its own: POST /collections/{name}/snapshots on each node"
            ) from error


def _field_type(kind: models.PayloadSchemaType) -> "grpc.FieldType.ValueType":
    return grpc.FieldType.Value(f"FieldType{kind.value.title()}")
