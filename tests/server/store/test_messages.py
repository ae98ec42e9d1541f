"""No cluster runs here, so what goes to one is held against what Qdrant's own client sends."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc as rpc
import numpy as np
import pytest
from google.protobuf.message import Message
from qdrant_client import AsyncQdrantClient, grpc, models

from tamis.server.store import AliasChange, CollectionSchema, StoreUnavailableError, point
from tamis.server.store.connection import channel_to
from tamis.server.store.qdrant import QdrantStore

ID, OTHER = str(UUID(int=1)), str(UUID(int=2))
COMPLETED = grpc.PointsOperationResponse(
    result=grpc.UpdateResult(status=grpc.UpdateStatus.Completed)
)
METHODS: dict[str, tuple[type[Message], Message]] = {
    "Collections/Create": (
        grpc.CreateCollection,
        grpc.CollectionOperationResponse(result=True),
    ),
    "Collections/Delete": (
        grpc.DeleteCollection,
        grpc.CollectionOperationResponse(result=True),
    ),
    "Collections/List": (grpc.ListCollectionsRequest, grpc.ListCollectionsResponse()),
    "Collections/Get": (grpc.GetCollectionInfoRequest, grpc.GetCollectionInfoResponse()),
    "Points/Upsert": (grpc.UpsertPoints, COMPLETED),
    "Points/Delete": (grpc.DeletePoints, COMPLETED),
    "Points/Get": (grpc.GetPoints, grpc.GetResponse()),
    "Points/Scroll": (grpc.ScrollPoints, grpc.ScrollResponse()),
    "Points/Query": (grpc.QueryPoints, grpc.QueryResponse()),
    "Collections/UpdateAliases": (
        grpc.ChangeAliases,
        grpc.CollectionOperationResponse(result=True),
    ),
    "Collections/ListAliases": (grpc.ListAliasesRequest, grpc.ListAliasesResponse()),
    "Points/CreateFieldIndex": (grpc.CreateFieldIndexCollection, COMPLETED),
    "Points/Count": (grpc.CountPoints, grpc.CountResponse()),
}


class Recorder:
    """A server that answers nothing of interest and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.server = rpc.aio.server()
        self.server.add_generic_rpc_handlers([self])  # type: ignore[list-item]
        self.port = self.server.add_insecure_port("localhost:0")

    def service(self, call: rpc.HandlerCallDetails) -> Any:
        request, response = METHODS[call.method.removeprefix("/qdrant.")]

        async def answer(message: Message, _: object) -> Message:
            for field in ("timeout", "ordering", "read_consistency"):  # left to the server by both
                if field in message.DESCRIPTOR.fields_by_name:
                    message.ClearField(field)
            self.heard.append(message)
            return response

        return rpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    await recorder.server.start()
    yield recorder
    await recorder.server.stop(None)


@pytest.fixture
async def ours(recorder: Recorder) -> AsyncIterator[QdrantStore]:
    store = QdrantStore(channel_to(f"http://localhost:{recorder.port}"), timeout_s=30)
    yield store
    await store.close()


@pytest.fixture
async def theirs(recorder: Recorder) -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(
        "localhost", grpc_port=recorder.port, prefer_grpc=True, check_compatibility=False
    )
    yield client
    await client.close()


WHERE = models.Filter(
    must=[models.FieldCondition(key="metadata.a.b", match=models.MatchAny(any=["x", "y"]))],
    must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.c"))],
)


async def test_create(recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient) -> None:
    vectors = {
        "dense": models.VectorParams(
            size=8,
            distance=models.Distance.COSINE,
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
            ),
        ),
        "tokens": models.VectorParams(
            size=4,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            hnsw_config=models.HnswConfigDiff(m=0),
        ),
    }
    sparse = {"terms": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    metadata = {"fingerprints": {"dense": "a:b"}, "count": 1}
    await ours.create("docs", CollectionSchema(vectors, sparse, metadata))
    await theirs.create_collection(
        "docs", vectors_config=vectors, sparse_vectors_config=sparse, metadata=metadata
    )
    assert recorder.heard[0] == recorder.heard[1]


async def test_indexes(recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient) -> None:
    for kind in models.PayloadSchemaType:
        recorder.heard.clear()
        await ours.create("docs", CollectionSchema({}, {}, {}, {"metadata.a": kind}))
        await theirs.create_payload_index("docs", "metadata.a", kind)
        assert recorder.heard[1] == recorder.heard[2]


async def test_aliases(recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient) -> None:
    changes: list[AliasChange] = [
        models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="a")),
        models.CreateAliasOperation(
            create_alias=models.CreateAlias(alias_name="a", collection_name="docs")
        ),
    ]
    await ours.update_aliases(changes)
    await theirs.update_collection_aliases(changes)
    await ours.aliases()
    await theirs.get_aliases()
    assert recorder.heard[::2] == recorder.heard[1::2]


async def test_upsert(
    recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient, rng: np.random.Generator
) -> None:
    dense = rng.normal(size=200).astype(np.float32)
    tokens = rng.normal(size=(5, 130)).astype(np.float32)
    terms = models.SparseVector(indices=[7, 1], values=[0.5, 2.0])
    payload = {"a": [1, 2.5, None, {"b": True}], "c": "d"}
    vectors = {"dense": dense, "tokens": tokens, "terms": terms}
    await ours.upsert("docs", [point(ID, vectors=vectors, payload=payload)])
    lists = {"dense": dense.tolist(), "tokens": tokens.tolist(), "terms": terms}
    await theirs.upsert("docs", [models.PointStruct(id=ID, vector=lists, payload=payload)])
    assert recorder.heard[0] == recorder.heard[1]


QUERIES: dict[str, dict[str, Any]] = {
    "dense": {"query": models.NearestQuery(nearest=[1.0, 2.0]), "using": "dense"},
    "tokens after terms": {
        "query": models.NearestQuery(nearest=[[1.0, 2.0], [3.0, 4.0]]),
        "using": "tokens",
        "prefetch": [
            models.Prefetch(
                query=models.SparseVector(indices=[1], values=[0.5]),
                using="terms",
                limit=300,
                filter=WHERE,
                params=models.SearchParams(hnsw_ef=64),
            )
        ],
    },
    "fusion of fusions": {
        "query": models.RrfQuery(rrf=models.Rrf(k=61, weights=[2.0, 1.0])),
        "prefetch": [
            models.Prefetch(query=[1.0, 2.0], using="dense", limit=5, score_threshold=0.5),
            models.Prefetch(
                query=models.FusionQuery(fusion=models.Fusion.DBSF),
                prefetch=[models.Prefetch(query=[2.0, 1.0], using="dense")],
                limit=7,
            ),
        ],
    },
}


@pytest.mark.parametrize("name", QUERIES)
async def test_query(
    recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient, name: str
) -> None:
    await ours.query("docs", **QUERIES[name], where=WHERE, limit=9, vectors=["tokens"])
    await theirs.query_points(
        "docs", **QUERIES[name], query_filter=WHERE, limit=9, with_vectors=["tokens"]
    )
    assert recorder.heard[0] == recorder.heard[1]


async def test_exact_holds_in_every_stage(recorder: Recorder, ours: QdrantStore) -> None:
    query = QUERIES["tokens after terms"]
    await ours.query("docs", **query, limit=9, exact=True)
    (message,) = recorder.heard
    assert isinstance(message, grpc.QueryPoints)
    assert message.params.exact
    assert message.prefetch[0].params.exact
    assert message.prefetch[0].params.hnsw_ef == 64


async def test_a_write_that_a_cluster_did_not_wait_for_is_no_success(
    ours: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = grpc.PointsOperationResponse(
        result=grpc.UpdateResult(status=grpc.UpdateStatus.WaitTimeout)
    )
    monkeypatch.setitem(METHODS, "Points/Upsert", (grpc.UpsertPoints, late))
    with pytest.raises(StoreUnavailableError, match="WaitTimeout"):
        await ours.upsert("docs", [point(ID, vectors={"dense": [1.0]}, payload={})])


async def test_the_rest(recorder: Recorder, ours: QdrantStore, theirs: AsyncQdrantClient) -> None:
    await ours.delete("docs", [ID, OTHER])
    await theirs.delete("docs", [ID, OTHER])
    await ours.delete("docs", WHERE)
    await theirs.delete("docs", WHERE)
    await ours.retrieve("docs", [ID, OTHER], vectors=["dense"])
    await theirs.retrieve("docs", [ID, OTHER], with_vectors=["dense"])
    await ours.scroll("docs", limit=8, after=ID, where=WHERE, vectors=["dense"])
    await theirs.scroll("docs", WHERE, limit=9, offset=ID, with_vectors=["dense"])
    await ours.count("docs", WHERE)
    await theirs.count("docs", WHERE, exact=True)
    await ours.drop("docs")
    await theirs.delete_collection("docs")
    assert recorder.heard[::2] == recorder.heard[1::2]
