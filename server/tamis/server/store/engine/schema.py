"""Qdrant's description of a collection as the embedded engine's configuration."""

from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc

_DISTANCES = {
    grpc.Distance.Cosine: edge.Distance.Cosine,
    grpc.Distance.Euclid: edge.Distance.Euclid,
    grpc.Distance.Dot: edge.Distance.Dot,
    grpc.Distance.Manhattan: edge.Distance.Manhattan,
}
_DATATYPES = {
    grpc.Datatype.Default: None,
    grpc.Datatype.Float32: edge.VectorStorageDatatype.Float32,
    grpc.Datatype.Uint8: edge.VectorStorageDatatype.Uint8,
    grpc.Datatype.Float16: edge.VectorStorageDatatype.Float16,
    grpc.Datatype.Turbo8: edge.VectorStorageDatatype.Turbo8,
    grpc.Datatype.Turbo16: edge.VectorStorageDatatype.Turbo16,
}
_MEMORY = {
    grpc.Memory.MemoryUnknown: None,
    grpc.Memory.Cold: edge.Memory.Cold,
    grpc.Memory.Cached: edge.Memory.Cached,
    grpc.Memory.Pinned: edge.Memory.Pinned,
}


def _memory(message: Any) -> Any:
    """Where it is kept, from the setting or from the flag that it replaced."""
    if message.HasField("memory"):
        return _MEMORY[message.memory]
    if message.HasField("on_disk"):
        return edge.Memory.Cold if message.on_disk else edge.Memory.Cached
    return None


def _datatype(datatype: "grpc.Datatype.ValueType") -> Any:
    if datatype not in _DATATYPES:
        raise ValueError(f"datatype {grpc.Datatype.Name(datatype)}: not in the embedded engine")
    return _DATATYPES[datatype]


def _hnsw(message: grpc.HnswConfigDiff) -> edge.HnswIndexConfig:
    """Qdrant's defaults stand in for what is not set."""
    return edge.HnswIndexConfig(
        m=message.m if message.HasField("m") else 16,
        ef_construct=message.ef_construct or 100,
        full_scan_threshold=message.full_scan_threshold or 10_000,
        max_indexing_threads=message.max_indexing_threads,
        payload_m=message.payload_m if message.HasField("payload_m") else None,
        memory=_memory(message),
    )


def _quantization(message: grpc.QuantizationConfig) -> Any:
    kind = message.WhichOneof("quantization")
    if kind != "scalar":
        raise ValueError(f"{kind} quantization: not in the embedded engine")
    return edge.ScalarQuantizationConfig(
        edge.ScalarType.Int8,
        message.scalar.quantile if message.scalar.HasField("quantile") else None,
        message.scalar.always_ram if message.scalar.HasField("always_ram") else None,
    )


def _vector(message: grpc.VectorParams) -> edge.EdgeVectorParams:
    several = message.HasField("multivector_config")
    return edge.EdgeVectorParams(
        size=message.size,
        distance=_DISTANCES[message.distance],
        multivector_config=(
            edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if several else None
        ),
        datatype=_datatype(message.datatype),
        quantization_config=(
            _quantization(message.quantization_config)
            if message.HasField("quantization_config")
            else None
        ),
        hnsw_config=_hnsw(message.hnsw_config) if message.HasField("hnsw_config") else None,
        memory=_memory(message),
    )


def _sparse(message: grpc.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    index = message.index
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=(
            index.full_scan_threshold if index.HasField("full_scan_threshold") else None
        ),
        modifier=edge.Modifier.Idf if message.modifier == grpc.Modifier.Idf else None,
        datatype=_datatype(index.datatype),
        memory=_memory(index),
    )


def config(message: grpc.CreateCollection) -> edge.EdgeConfig:
    """How the engine keeps a collection.

    Raises:
        ValueError: It asks for something that the embedded engine does not have, or for no named
            vector at all.
    """
    dense = message.vectors_config.params_map.map
    sparse = message.sparse_vectors_config.map
    if message.vectors_config.HasField("params"):
        raise ValueError("every vector needs a name")
    if not dense and not sparse:
        raise ValueError("a collection indexes at least one vector")
    return edge.EdgeConfig(
        vectors={name: _vector(dense[name]) for name in dense},
        sparse_vectors={name: _sparse(sparse[name]) for name in sparse},
        hnsw_config=_hnsw(message.hnsw_config) if message.HasField("hnsw_config") else None,
        quantization_config=(
            _quantization(message.quantization_config)
            if message.HasField("quantization_config")
            else None
        ),
        wal_enabled=True,
    )


# What an index of the payload may be of, as both sides name it.
_FIELDS = ("Keyword", "Integer", "Float", "Bool", "Datetime")


def field_type(number: "grpc.FieldType.ValueType") -> edge.PayloadSchemaType:
    """What a field of the payload holds.

    Raises:
        ValueError: The embedded engine is not asked to index that.
    """
    name = grpc.FieldType.Name(number).removeprefix("FieldType")
    if name not in _FIELDS:
        raise ValueError(f"no index on fields of the type {name}")
    kind: edge.PayloadSchemaType = getattr(edge.PayloadSchemaType, name)
    return kind


def _payload_schema(found: "edge.ShardInfo") -> dict[str, grpc.PayloadSchemaInfo]:
    kinds = {
        key: str(one.data_type).rpartition(".")[2] for key, one in found.payload_schema.items()
    }
    return {
        key: grpc.PayloadSchemaInfo(data_type=grpc.PayloadSchemaType.Value(kind))
        for key, kind in kinds.items()
    }


def info(message: grpc.CreateCollection, found: "edge.ShardInfo") -> grpc.CollectionInfo:
    """What a cluster says of a collection, as far as it has a meaning here."""
    return grpc.CollectionInfo(
        status=grpc.CollectionStatus.Green,
        optimizer_status=grpc.OptimizerStatus(ok=True),
        segments_count=found.segments_count,
        points_count=found.points_count,
        indexed_vectors_count=found.indexed_vectors_count,
        payload_schema=_payload_schema(found),
        config=grpc.CollectionConfig(
            params=grpc.CollectionParams(
                shard_number=1,
                vectors_config=message.vectors_config,
                sparse_vectors_config=message.sparse_vectors_config,
            ),
            hnsw_config=message.hnsw_config,
            metadata=message.metadata,
        ),
    )
