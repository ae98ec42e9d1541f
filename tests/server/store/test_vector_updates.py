"""Vectors that are put on points beside others, over the embedded engine and over local mode."""

from pathlib import Path
from uuid import UUID

import numpy as np
from qdrant_client import models

from tamis.server.store import CollectionSchema, VectorStore, point
from tamis.server.store.opening import open_store
from tamis.server.store_settings import StoreSettings

SCHEMA = CollectionSchema(
    vectors={
        "tokens": models.VectorParams(
            size=4,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            hnsw_config=models.HnswConfigDiff(m=0),
        )
    },
    sparse={"lists": models.SparseVectorParams()},
    metadata={},
)
LISTED = models.Filter(must=[models.HasVectorCondition(has_vector="lists")])


def uuid(number: int) -> str:
    return str(UUID(int=number + 1))


def lists(number: int, *indices: int) -> models.PointVectors:
    sparse = models.SparseVector(indices=[*indices], values=[1.0] * len(indices))
    return models.PointVectors.model_construct(id=uuid(number), vector={"lists": sparse})


async def filled(store: VectorStore, rng: np.random.Generator) -> None:
    await store.create("a", SCHEMA)
    tokens = rng.normal(size=(5, 3, 4)).astype(np.float32)
    await store.upsert(
        "a", [point(uuid(i), vectors={"tokens": tokens[i]}, payload={"n": i}) for i in range(5)]
    )


async def listed_on(store: VectorStore, index: int) -> set[str]:
    asked = models.SparseVector(indices=[index], values=[1.0])
    query = models.NearestQuery(nearest=asked)
    found = await store.query("a", query, limit=9, using="lists")
    return {str(one.id) for one in found}


async def test_vectors_join_those_that_a_point_has(
    store: VectorStore, rng: np.random.Generator
) -> None:
    await filled(store, rng)
    assert await store.count("a", LISTED) == 0
    await store.update_vectors("a", [lists(0, 3, 7), lists(1, 3)])
    assert await store.count("a", LISTED) == 2
    assert await listed_on(store, 3) == {uuid(0), uuid(1)}
    assert await listed_on(store, 7) == {uuid(0)}
    (first,) = await store.retrieve("a", [uuid(0)], vectors=["tokens"])
    assert isinstance(first.vector, dict)
    assert np.asarray(first.vector["tokens"]).shape == (3, 4)
    assert first.payload == {"n": 0}


async def test_points_that_are_gone_do_not_keep_others_from_theirs(
    store: VectorStore, rng: np.random.Generator
) -> None:
    await filled(store, rng)
    await store.update_vectors("a", [lists(0, 1), lists(77, 1), lists(2, 1)])
    await store.update_vectors("a", [lists(78, 1)])
    assert await listed_on(store, 1) == {uuid(0), uuid(2)}
    assert await store.count("a") == 5


async def test_points_that_do_not_pass_keep_what_they_have(
    store: VectorStore, rng: np.random.Generator
) -> None:
    await filled(store, rng)
    await store.update_vectors("a", [lists(0, 3)])
    unlisted = models.Filter(must_not=[models.HasVectorCondition(has_vector="lists")])
    await store.update_vectors("a", [lists(0, 5), lists(1, 5)], where=unlisted)
    assert await listed_on(store, 3) == {uuid(0)}
    assert await listed_on(store, 5) == {uuid(1)}


async def test_vectors_are_taken_off_again(store: VectorStore, rng: np.random.Generator) -> None:
    await filled(store, rng)
    await store.update_vectors("a", [lists(0, 3), lists(1, 3)])
    await store.delete_vectors("a", ["lists"], LISTED)
    assert await store.count("a", LISTED) == 0
    assert await listed_on(store, 3) == set()
    assert await store.count("a") == 5


async def test_payloads_stay_where_they_are_when_none_are_asked_for(
    store: VectorStore, rng: np.random.Generator
) -> None:
    await filled(store, rng)
    await store.update_vectors("a", [lists(0, 3)])
    query = models.NearestQuery(nearest=models.SparseVector(indices=[3], values=[1.0]))
    (hit,) = await store.query("a", query, limit=9, using="lists", payload=False)
    (got,) = await store.retrieve("a", [uuid(0)], payload=False)
    scrolled = await store.scroll("a", limit=9, payload=False)
    payloads = [hit.payload, got.payload, *(one.payload for one in scrolled)]
    assert [payload or {} for payload in payloads] == [{}] * 7


async def test_what_was_updated_is_there_after_a_restart(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    settings = StoreSettings(folder=str(tmp_path))
    async with open_store(settings) as store:
        await filled(store, rng)
        await store.update_vectors("a", [lists(0, 3), lists(77, 3), lists(4, 3)])
    async with open_store(settings) as store:
        assert await listed_on(store, 3) == {uuid(0), uuid(4)}
