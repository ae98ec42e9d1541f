"""What a store promises, held against numpy; over the embedded engine and over local mode."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import grpc_to_payload

from tamis.models.errors import InputError
from tamis.server.store import (
    CollectionExistsError,
    CollectionSchema,
    UnknownCollectionError,
    VectorStore,
    point,
)
from tamis.server.store.connection import channel_to
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings

DIM = 16
SCHEMA = CollectionSchema(
    vectors={
        "dense": models.VectorParams(size=DIM, distance=models.Distance.COSINE),
        "tokens": models.VectorParams(
            size=DIM,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            hnsw_config=models.HnswConfigDiff(m=0),
        ),
    },
    sparse={
        "terms": models.SparseVectorParams(modifier=models.Modifier.IDF),
        "weights": models.SparseVectorParams(),
    },
    metadata={"dense": "clip:v1:abc", "count": 3, "nested": {"a": [1, 2.5, None, True]}},
)


def uuid(number: int) -> str:
    return str(UUID(int=number + 1))


def number(found: models.ScoredPoint | models.Record) -> int:
    return UUID(str(found.id)).int - 1


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def equals(key: str, value: Any) -> models.Filter:
    return models.Filter(
        must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))]
    )


def nearest(vector: np.ndarray) -> models.NearestQuery:
    return models.NearestQuery(nearest=vector.tolist())


def sparse(weights: dict[int, float]) -> models.SparseVector:
    return models.SparseVector(indices=list(weights), values=list(weights.values()))


class Data:
    """Sixty documents: dense vectors, tokens of uneven count, a payload."""

    def __init__(self, rng: np.random.Generator, count: int = 60) -> None:
        self.dense = rng.normal(size=(count, DIM)).astype(np.float32)
        self.tokens = [
            unit(rng.normal(size=(1 + i % 7, DIM))).astype(np.float32) for i in range(count)
        ]
        self.payload = [
            {"number": i, "even": i % 2 == 0, "kind": f"k{i % 3}"} for i in range(count)
        ]
        self.count = count

    def points(self) -> list[models.PointStruct]:
        return [
            point(
                uuid(i),
                vectors={"dense": self.dense[i], "tokens": self.tokens[i]},
                payload=self.payload[i],
            )
            for i in range(self.count)
        ]


@pytest.fixture
def data(rng: np.random.Generator) -> Data:
    return Data(rng)


@pytest.fixture
async def filled(store: VectorStore, data: Data) -> VectorStore:
    await store.create("docs", SCHEMA)
    await store.upsert("docs", data.points())
    return store


def ranking(scores: np.ndarray, limit: int) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable")[:limit]]


async def test_it_is_a_vector_store(store: VectorStore) -> None:
    assert isinstance(store, VectorStore)


async def test_a_new_collection_is_empty_and_says_what_it_indexes(store: VectorStore) -> None:
    await store.create("docs", SCHEMA)
    assert await store.names() == ["docs"]
    assert await store.count("docs") == 0
    schema = await store.schema("docs")
    assert {name: params.size for name, params in schema.vectors.items()} == {
        "dense": DIM,
        "tokens": DIM,
    }
    assert schema.vectors["dense"].distance is models.Distance.COSINE
    assert schema.vectors["tokens"].datatype is models.Datatype.FLOAT16
    assert schema.vectors["tokens"].multivector_config is not None
    assert schema.sparse["terms"].modifier is models.Modifier.IDF
    assert schema.metadata == SCHEMA.metadata


async def test_names_are_sorted_and_may_be_any_text(store: VectorStore) -> None:
    for name in ("zebra", "a b", ".dot", "été", "100%"):
        await store.create(name, SCHEMA)
    assert await store.names() == sorted(["zebra", "a b", ".dot", "été", "100%"])


async def test_a_name_that_is_taken_is_refused(store: VectorStore) -> None:
    await store.create("docs", SCHEMA)
    with pytest.raises(CollectionExistsError):
        await store.create("docs", SCHEMA)


async def test_a_dropped_collection_is_gone_and_its_name_is_free(filled: VectorStore) -> None:
    await filled.drop("docs")
    assert await filled.names() == []
    await filled.create("docs", SCHEMA)
    assert await filled.count("docs") == 0


async def test_an_unknown_collection_is_an_error_of_every_method(store: VectorStore) -> None:
    calls = [
        store.drop("none"),
        store.schema("none"),
        store.count("none"),
        store.upsert("none", [point(uuid(0), vectors={"dense": np.ones(DIM)}, payload={})]),
        store.delete("none", [uuid(0)]),
        store.retrieve("none", [uuid(0)]),
        store.scroll("none", limit=1),
        store.query("none", nearest(np.ones(DIM)), using="dense", limit=1),
    ]
    for call in calls:
        with pytest.raises(UnknownCollectionError):
            await call


@pytest.mark.parametrize("exact", [False, True])
async def test_dense_search_is_cosine(filled: VectorStore, data: Data, exact: bool) -> None:
    query = data.dense[7] + data.dense[9]
    found = await filled.query("docs", nearest(query), using="dense", limit=10, exact=exact)
    cosines = unit(data.dense) @ unit(query)
    assert [number(hit) for hit in found] == ranking(cosines, 10)
    assert [hit.score for hit in found] == pytest.approx(sorted(cosines)[:-11:-1], abs=1e-5)
    assert found[0].payload == data.payload[number(found[0])]


async def test_late_interaction_is_max_sim(
    filled: VectorStore, data: Data, rng: np.random.Generator
) -> None:
    """1e-3 relative: the tokens are kept in half precision."""
    query = unit(rng.normal(size=(5, DIM))).astype(np.float32)
    found = await filled.query("docs", nearest(query), using="tokens", limit=60)
    scores = np.array([(query @ tokens.T).max(axis=1).sum() for tokens in data.tokens])
    assert len(found) == 60
    for hit in found:
        assert hit.score == pytest.approx(scores[number(hit)], abs=3e-3)


async def test_rare_terms_weigh_more_and_strangers_are_absent(store: VectorStore) -> None:
    """The weight of a term is ln(1 + (N - n + 0.5) / (n + 0.5)), for n of N documents."""
    await store.create("docs", SCHEMA)
    terms = [{1: 1.0, 2: 1.0}, {1: 1.0}, {1: 1.0}, {2: 1.0, 3: 1.0}, {4: 1.0}]
    await store.upsert(
        "docs",
        [
            point(uuid(i), vectors={"terms": sparse(weights)}, payload={})
            for i, weights in enumerate(terms)
        ],
    )

    def idf(term: int) -> float:
        n = sum(term in weights for weights in terms)
        return float(np.log(1 + (len(terms) - n + 0.5) / (n + 0.5)))

    query = models.NearestQuery(nearest=sparse({1: 1.0, 2: 1.0, 3: 2.0, 9: 5.0}))
    found = await store.query("docs", query, using="terms", limit=10)
    expected = {0: idf(1) + idf(2), 1: idf(1), 2: idf(1), 3: idf(2) + 2 * idf(3)}
    assert {number(hit): hit.score for hit in found} == pytest.approx(expected, rel=1e-5)
    assert number(found[0]) == 3


async def test_a_sparse_score_is_a_dot_product(store: VectorStore) -> None:
    await store.create("docs", SCHEMA)
    weights = [{1: 0.5, 7: 2.0}, {7: 1.0, 4_000_000_000: 3.0}, {8: 1.0}]
    await store.upsert(
        "docs",
        [point(uuid(i), vectors={"weights": sparse(w)}, payload={}) for i, w in enumerate(weights)],
    )
    query = models.NearestQuery(nearest=sparse({1: 2.0, 7: 0.5, 4_000_000_000: 1.0}))
    found = await store.query("docs", query, using="weights", limit=10)
    assert [(number(hit), hit.score) for hit in found] == [(1, 3.5), (0, 2.0)]


@pytest.mark.parametrize("k", [2, 61])
async def test_fusion_is_reciprocal_rank_with_ranks_from_zero(
    filled: VectorStore, data: Data, k: int
) -> None:
    """Qdrant counts ranks from 0: the k = 60 of the paper, whose ranks start at 1, is 61 here."""
    queries = data.dense[:2]
    prefetch = [models.Prefetch(query=query.tolist(), using="dense", limit=15) for query in queries]
    found = await filled.query(
        "docs", models.RrfQuery(rrf=models.Rrf(k=k)), prefetch=prefetch, limit=30
    )
    scores = np.zeros(data.count)
    for query in queries:
        for rank, i in enumerate(ranking(unit(data.dense) @ unit(query), 15)):
            scores[i] += 1 / (k + rank)
    assert len(found) == np.count_nonzero(scores)
    for hit in found:
        assert hit.score == pytest.approx(scores[number(hit)], rel=1e-5)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


async def test_max_sim_orders_what_a_sparse_prefetch_found(
    store: VectorStore, data: Data, rng: np.random.Generator
) -> None:
    """Late interaction as it is run: candidates by centroids, order by tokens."""
    await store.create("docs", SCHEMA)
    await store.upsert(
        "docs",
        [
            point(
                uuid(i),
                vectors={"tokens": data.tokens[i], "weights": sparse({i % 5: 1.0})},
                payload={},
            )
            for i in range(data.count)
        ],
    )
    query = unit(rng.normal(size=(4, DIM))).astype(np.float32)
    candidates = models.Prefetch(query=sparse({1: 1.0, 3: 2.0}), using="weights", limit=100)
    found = await store.query(
        "docs", nearest(query), using="tokens", prefetch=[candidates], limit=5
    )
    scores = {
        i: float((query @ data.tokens[i].T).max(axis=1).sum())
        for i in range(data.count)
        if i % 5 in (1, 3)
    }
    best = sorted(scores, key=lambda i: -scores[i])[:5]
    assert [hit.score for hit in found] == pytest.approx([scores[i] for i in best], abs=3e-3)


@pytest.mark.parametrize("fused", [False, True])
async def test_the_filter_holds_in_every_prefetch(
    filled: VectorStore, data: Data, fused: bool
) -> None:
    """The five nearest of all are odd, so a filter above the prefetch alone would find nothing."""
    query = data.dense[[1, 3, 5]].sum(axis=0)
    cosines = unit(data.dense) @ unit(query)
    evens = [i for i in ranking(cosines, 60) if i % 2 == 0]
    found = await filled.query(
        "docs",
        models.FusionQuery(fusion=models.Fusion.RRF) if fused else nearest(query),
        using=None if fused else "dense",
        prefetch=[models.Prefetch(query=query.tolist(), using="dense", limit=5)],
        where=equals("even", True),
        limit=10,
    )
    assert [number(hit) for hit in found] == evens[:5]


async def test_a_prefetch_has_a_filter_of_its_own_too(filled: VectorStore, data: Data) -> None:
    found = await filled.query(
        "docs",
        nearest(data.dense[0]),
        using="dense",
        prefetch=[
            models.Prefetch(
                query=data.dense[0].tolist(),
                using="dense",
                limit=60,
                filter=equals("kind", "k1"),
            )
        ],
        where=equals("even", True),
        limit=60,
    )
    assert {number(hit) for hit in found} == {i for i in range(60) if i % 6 == 4}


async def test_hits_bring_the_vectors_that_were_asked_for(filled: VectorStore, data: Data) -> None:
    found = await filled.query(
        "docs", nearest(data.dense[0]), using="dense", limit=50, vectors=["tokens"]
    )
    assert len(found) == 50
    for hit in found:
        assert isinstance(hit.vector, dict)
        assert set(hit.vector) == {"tokens"}
        np.testing.assert_allclose(
            np.asarray(hit.vector["tokens"]), data.tokens[number(hit)], atol=1e-3
        )


async def test_points_come_in_the_order_of_the_ids_and_unknown_ids_are_left_out(
    filled: VectorStore, data: Data
) -> None:
    ids = [uuid(5), uuid(99), uuid(2), uuid(40)]
    found = await filled.retrieve("docs", ids, vectors=["dense", "tokens"])
    assert [number(record) for record in found] == [5, 2, 40]
    for record in found:
        assert record.payload == data.payload[number(record)]
        assert isinstance(record.vector, dict)
        np.testing.assert_allclose(
            np.asarray(record.vector["dense"]), unit(data.dense[number(record)]), atol=1e-6
        )
        assert np.asarray(record.vector["tokens"]).shape == data.tokens[number(record)].shape


@pytest.mark.parametrize("vectors", [[], ["tokens"]])
async def test_scrolling_passes_every_point_once_in_the_order_of_the_ids(
    filled: VectorStore, data: Data, vectors: list[str]
) -> None:
    seen: list[models.Record] = []
    pages: list[int] = []
    while not pages or pages[-1] == 7:
        after = str(seen[-1].id) if seen else None
        page = await filled.scroll("docs", limit=7, after=after, vectors=vectors)
        pages.append(len(page))
        seen += page
    assert [number(record) for record in seen] == list(range(data.count))
    assert await filled.scroll("docs", limit=10, after=str(seen[-1].id)) == []
    everything = await filled.scroll("docs", limit=1_000, vectors=vectors)
    assert [number(record) for record in everything] == list(range(data.count))
    for record in everything:
        assert record.payload == data.payload[number(record)]
        if vectors:
            assert isinstance(record.vector, dict)
            np.testing.assert_allclose(
                np.asarray(record.vector["tokens"]), data.tokens[number(record)], atol=1e-3
            )
    some = await filled.scroll("docs", limit=5, after=uuid(9), where=equals("even", False))
    assert [number(record) for record in some] == [11, 13, 15, 17, 19]


async def test_a_payload_comes_back_as_it_went_in(store: VectorStore) -> None:
    payload = {
        "text": "a “quoted” line\n",
        "int": 2**53,
        "float": 0.1,
        "none": None,
        "true": True,
        "list": [1, "two", [3.5], {}],
        "object": {"a": {"b": []}},
    }
    await store.create("docs", SCHEMA)
    await store.upsert("docs", [point(uuid(0), vectors={"dense": np.ones(DIM)}, payload=payload)])
    (record,) = await store.retrieve("docs", [uuid(0)])
    assert json.dumps(record.payload, sort_keys=True) == json.dumps(payload, sort_keys=True)


async def test_a_point_of_the_same_id_is_replaced_whole(filled: VectorStore, data: Data) -> None:
    await filled.upsert(
        "docs", [point(uuid(3), vectors={"dense": data.dense[4]}, payload={"new": 1})]
    )
    assert await filled.count("docs") == data.count
    (record,) = await filled.retrieve("docs", [uuid(3)], vectors=["dense", "tokens"])
    assert record.payload == {"new": 1}
    assert isinstance(record.vector, dict)
    assert set(record.vector) == {"dense"}
    found = await filled.query("docs", nearest(data.dense[4]), using="dense", limit=2)
    assert {number(hit) for hit in found} == {3, 4}


async def test_points_are_deleted_by_id_and_unknown_ids_are_ignored(filled: VectorStore) -> None:
    await filled.delete("docs", [uuid(1), uuid(2), uuid(999)])
    assert await filled.count("docs") == 58
    assert await filled.retrieve("docs", [uuid(1), uuid(2)]) == []


async def test_points_are_deleted_by_filter(filled: VectorStore) -> None:
    await filled.delete("docs", equals("kind", "k0"))
    assert await filled.count("docs") == 40
    assert await filled.count("docs", equals("kind", "k0")) == 0
    assert await filled.count("docs", equals("even", True)) == 20


async def test_nothing_to_write_is_fine(store: VectorStore) -> None:
    await store.create("docs", SCHEMA)
    await store.upsert("docs", [])
    await store.delete("docs", [])
    assert await store.retrieve("docs", []) == []


METADATA: Sequence[dict[str, Any]] = [
    {
        "author": {"name": "Ada", "born": 1815},
        "tags": ["a", "b"],
        "year": 1843,
        "score": 0.5,
        "open": True,
    },
    {
        "author": {"name": "Alan", "born": 1912},
        "tags": ["b"],
        "year": 1936,
        "score": 1.5,
        "open": False,
    },
    {"author": {"name": "Grace"}, "tags": [], "year": 1952, "score": 2.5, "open": 1},
    {"author": None, "year": "unknown"},
    {},
]


def field(key: str, **test: Any) -> models.FieldCondition:
    return models.FieldCondition(key=f"metadata.{key}", **test)


FILTERS: dict[str, tuple[models.Filter, set[int]]] = {
    "a nested key": (
        models.Filter(must=[field("author.name", match=models.MatchValue(value="Ada"))]),
        {0},
    ),
    "one of a list": (
        models.Filter(must=[field("tags", match=models.MatchValue(value="b"))]),
        {0, 1},
    ),
    "any of": (
        models.Filter(must=[field("author.name", match=models.MatchAny(any=["Ada", "Grace"]))]),
        {0, 2},
    ),
    "any of numbers": (
        models.Filter(must=[field("year", match=models.MatchAny(any=[1936, 1952]))]),
        {1, 2},
    ),
    "a range": (models.Filter(must=[field("year", range=models.Range(gte=1900, lt=1952))]), {1}),
    "a range of fractions": (
        models.Filter(must=[field("score", range=models.Range(gt=0.5, lte=2.5))]),
        {1, 2},
    ),
    "not": (
        models.Filter(must_not=[field("author.name", match=models.MatchValue(value="Ada"))]),
        {1, 2, 3, 4},
    ),
    "either": (
        models.Filter(
            should=[
                field("year", range=models.Range(lt=1900)),
                field("tags", match=models.MatchValue(value="b")),
            ]
        ),
        {0, 1},
    ),
    "both": (
        models.Filter(
            must=[
                field("tags", match=models.MatchValue(value="b")),
                field("author.born", range=models.Range(gt=1900)),
            ]
        ),
        {1},
    ),
    "empty or missing": (
        models.Filter(
            must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.tags"))]
        ),
        {2, 3, 4},
    ),
    "there": (
        models.Filter(
            must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.author"))]
        ),
        {0, 1, 2},
    ),
    "null": (
        models.Filter(
            must=[models.IsNullCondition(is_null=models.PayloadField(key="metadata.author"))]
        ),
        {3},
    ),
    "some ids": (
        models.Filter(must=[models.HasIdCondition(has_id=[uuid(1), uuid(4), uuid(77)])]),
        {1, 4},
    ),
    "a filter in a filter": (
        models.Filter(
            must=[
                models.Filter(
                    should=[
                        field("year", match=models.MatchValue(value=1843)),
                        field("year", match=models.MatchValue(value="unknown")),
                    ]
                )
            ],
            must_not=[field("author.name", match=models.MatchValue(value="Ada"))],
        ),
        {3},
    ),
    "two of three": (
        models.Filter(
            min_should=models.MinShould(
                conditions=[
                    field("year", range=models.Range(gt=1900)),
                    field("tags", match=models.MatchValue(value="b")),
                    field("author.name", match=models.MatchValue(value="Ada")),
                ],
                min_count=2,
            )
        ),
        {0, 1},
    ),
    "true, which is not 1": (
        models.Filter(must=[field("open", match=models.MatchValue(value=True))]),
        {0},
    ),
    "false": (models.Filter(must=[field("open", match=models.MatchValue(value=False))]), {1}),
    "1, which is not true": (
        models.Filter(must=[field("open", match=models.MatchValue(value=1))]),
        {2},
    ),
    "nothing": (models.Filter(), {0, 1, 2, 3, 4}),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_reads_metadata(store: VectorStore, name: str) -> None:
    where, expected = FILTERS[name]
    await store.create("docs", SCHEMA)
    await store.upsert(
        "docs",
        [
            point(uuid(i), vectors={"dense": np.ones(DIM)}, payload={"metadata": metadata})
            for i, metadata in enumerate(METADATA)
        ],
    )
    found = await store.query("docs", nearest(np.ones(DIM)), using="dense", where=where, limit=10)
    assert {number(hit) for hit in found} == expected
    assert await store.count("docs", where) == len(expected)


async def test_what_only_a_cluster_can_do_is_refused(engine: str) -> None:
    async with open_store(StoreSettings(url=engine)) as store:
        await store.create("docs", SCHEMA)
        with pytest.raises(InputError):
            await store.query("docs", models.NearestQuery(nearest=uuid(0)), using="dense", limit=1)
        await store.drop("docs")


async def test_any_qdrant_client_reads_the_engines_payloads(engine: str) -> None:
    """Ours is answered in JSON, which is faster; it asks for that."""
    async with open_store(StoreSettings(url=engine)) as store, channel_to(engine) as channel:
        await store.create("docs", SCHEMA)
        await store.upsert("docs", [point(uuid(0), vectors={}, payload={"a": {"b": [1, "c"]}})])
        response = await grpc.PointsStub(channel).Scroll(  # type: ignore[no-untyped-call]
            grpc.ScrollPoints(
                collection_name="docs", with_payload=grpc.WithPayloadSelector(enable=True)
            )
        )
        assert grpc_to_payload(response.result[0].payload) == {"a": {"b": [1, "c"]}}
        (record,) = await store.scroll("docs", limit=1)
        assert record.payload == {"a": {"b": [1, "c"]}}
        await store.drop("docs")


async def test_a_vector_of_the_wrong_length_or_name_is_the_callers_fault(
    store: VectorStore,
) -> None:
    if not hasattr(store, "_channel"):
        pytest.skip("local mode raises numpy's errors")
    await store.create("docs", SCHEMA)
    wrong = [
        store.upsert("docs", [point(uuid(0), vectors={"dense": np.ones(3)}, payload={})]),
        store.upsert("docs", [point(uuid(0), vectors={"none": np.ones(DIM)}, payload={})]),
        store.query("docs", nearest(np.ones(3)), using="dense", limit=1),
        store.query("docs", nearest(np.ones(DIM)), using="none", limit=1),
    ]
    for call in wrong:
        with pytest.raises(InputError):
            await call
    assert await store.count("docs") == 0
