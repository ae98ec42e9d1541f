"""What a plan finds, against numpy, with the filter in every part of it; on both stores."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from tamis.models.blocks.similarity import unit
from tamis.models.blocks.soft_max import soft_max_product
from tamis.models.retrievers import (
    DistributionBased,
    Fusion,
    Nearest,
    Plan,
    ReciprocalRanks,
    WeightedScores,
)
from tamis.models.retrievers.cap4video import Cap4Video
from tamis.models.retrievers.poly_encoder import PolyEncoder
from tamis.models.types import Content, Query, Sparse
from tamis.server.plans import ask, rescored
from tamis.server.store import CollectionSchema, VectorStore, point

COUNT, DIM, DEPTH = 40, 8, 15
MULTI = models.VectorParams(
    size=DIM,
    distance=models.Distance.DOT,
    multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
    hnsw_config=models.HnswConfigDiff(m=0),
)
DENSE = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
SCHEMA = CollectionSchema(
    vectors={"a.dense": DENSE, "a.tokens": MULTI, "a.caption": DENSE},
    sparse={"a.terms": models.SparseVectorParams()},
    metadata={},
)
EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])


class Data:
    """Forty documents with a vector, three tokens, a caption, and terms that all of them have."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.dense = rng.normal(size=(COUNT, DIM)).astype(np.float32)
        self.tokens = rng.normal(size=(COUNT, 3, DIM)).astype(np.float32)
        self.captions = unit(rng.normal(size=(COUNT, DIM))).astype(np.float32)
        self.terms = rng.uniform(0.1, 2, size=(COUNT, 4)).astype(np.float32)


@pytest.fixture
def data(rng: np.random.Generator) -> Data:
    return Data(rng)


@pytest.fixture
async def filled(store: VectorStore, data: Data) -> VectorStore:
    await store.create("docs", SCHEMA)
    points = [
        point(
            str(UUID(int=i + 1)),
            vectors={
                "a.dense": data.dense[i],
                "a.tokens": data.tokens[i],
                "a.caption": data.captions[i],
                "a.terms": models.SparseVector(indices=[0, 1, 2, 3], values=data.terms[i].tolist()),
            },
            payload={"id": str(i), "even": i % 2 == 0},
        )
        for i in range(COUNT)
    ]
    await store.upsert("docs", points)
    return store


def ranking(scores: np.ndarray, limit: int, allowed: Callable[[int], bool]) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable") if allowed(int(i))][:limit]


def numbers(found: list[models.ScoredPoint]) -> list[int]:
    return [UUID(str(hit.id)).int - 1 for hit in found]


FUSIONS: Mapping[str, Fusion] = {
    "rrf": ReciprocalRanks(),
    "dbsf": DistributionBased(),
    "min-max": WeightedScores((0.3, 0.5, 0.2)),
    "z-score": WeightedScores((1.0, 2.0, 0.5), "z_score"),
}


@pytest.mark.parametrize("where", [None, EVEN], ids=["all", "even"])
@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=FUSIONS)
async def test_vectors_of_all_kinds_are_fused(
    filled: VectorStore, data: Data, rng: np.random.Generator, fusion: Fusion, where: Any
) -> None:
    dense, tokens = rng.normal(size=DIM), rng.normal(size=(2, DIM)).astype(np.float32)
    terms = Sparse(np.arange(4), np.array([1.0, 0.0, 3.0, 0.5], np.float32))
    plan = Plan(
        fusion,
        10,
        (
            Plan(Nearest("a.dense", dense.astype(np.float32), exact=True), DEPTH),
            Plan(Nearest("a.terms", terms), DEPTH),
            Plan(Nearest("a.tokens", tokens, exact=True), DEPTH),
        ),
    )
    scores = [
        unit(data.dense) @ unit(dense),
        data.terms @ terms.values,
        np.einsum("qd,ntd->nqt", tokens, data.tokens).max(axis=2).sum(axis=1),
    ]
    rankings = [
        [(str(i), float(own[i])) for i in ranking(own, DEPTH, lambda i: not where or i % 2 == 0)]
        for own in scores
    ]
    expected = fusion.fused(rankings)
    found = await ask(filled, "docs", plan, where)
    assert len(found) == 10
    best = sorted(expected.values(), reverse=True)[:10]
    assert [hit.score for hit in found] == pytest.approx(best, abs=1e-5)
    for hit, number in zip(found, numbers(found), strict=True):
        assert hit.score == pytest.approx(expected[str(number)], abs=1e-5)
        assert hit.payload == {"id": str(number), "even": number % 2 == 0}


async def test_the_server_fuses_as_the_index_does(filled: VectorStore, data: Data) -> None:
    """Where a part can only be fused here, everything above it is."""
    one = Plan(Nearest("a.dense", data.dense[3], exact=True), DEPTH)
    two = Plan(Nearest("a.caption", data.captions[5], exact=True), DEPTH)
    alone = Plan(WeightedScores((1.0,)), DEPTH, (one,))  # keeps the ranking
    for order in (ReciprocalRanks(), DistributionBased()):
        there = await ask(filled, "docs", Plan(order, 10, (one, two)), None)
        here = await ask(filled, "docs", Plan(order, 10, (alone, two)), None)
        assert [hit.score for hit in here] == pytest.approx([hit.score for hit in there], abs=1e-5)


async def test_what_the_server_fused_can_be_ordered_by_the_index(
    filled: VectorStore, data: Data
) -> None:
    parts = tuple(Plan(Nearest("a.dense", data.dense[i], exact=True), 3) for i in (2, 4))
    plan = Plan(
        Nearest("a.tokens", data.tokens[4], exact=True),
        2,
        (Plan(WeightedScores((1.0, 1.0)), 6, parts),),
    )
    found = await ask(filled, "docs", plan, EVEN)
    assert numbers(found)[0] == 4
    scores = np.einsum("qd,ntd->nqt", data.tokens[4], data.tokens).max(axis=2).sum(axis=1)
    assert [h.score for h in found] == pytest.approx([scores[i] for i in numbers(found)], rel=1e-4)


async def test_a_poly_encoder_s_search_finds_the_best_of_the_whole_collection(
    filled: VectorStore, data: Data, rng: np.random.Generator
) -> None:
    points = [
        point(
            str(UUID(int=i + 1)),
            vectors={"a.tokens": data.dense[i][None]},
            payload={"even": i % 2 == 0},
        )
        for i in range(COUNT)
    ]
    await filled.upsert("docs", points)
    codes = rng.normal(size=(5, DIM)).astype(np.float32)
    plan = PolyEncoder(vector="a.tokens", depth=10).plan(Query(Content(), {"a.tokens": codes}), 5)
    assert plan is not None
    scores = soft_max_product(codes, data.dense)
    for where in (None, EVEN):
        found = await ask(filled, "docs", plan, where)
        best = ranking(scores, 5, lambda i, where=where: where is None or i % 2 == 0)  # type: ignore[misc]
        assert numbers(found) == best
        assert [hit.score for hit in found] == pytest.approx(scores[best], abs=1e-4)


async def test_cap4video_s_search_scores_frames_words_and_captions(
    filled: VectorStore, data: Data, rng: np.random.Generator
) -> None:
    retriever = Cap4Video(
        words="a.words", frames="a.tokens", text="a.text", video="a.dense", caption="a.caption"
    )
    words, text = rng.normal(size=(4, DIM)).astype(np.float32), unit(rng.normal(size=DIM))
    plan = retriever.plan(Query(Content(), {"a.words": words, "a.text": text}), 8)
    assert plan is not None
    found = await ask(filled, "docs", plan, EVEN)

    def score(i: int) -> float:
        """Padding matches with 0: queries and videos are shorter than the model's longest."""
        matches = unit(words) @ unit(data.tokens[i]).T
        of_words = np.linalg.norm(words, axis=1) @ np.maximum(matches.max(axis=1), 0)
        of_frames = np.linalg.norm(data.tokens[i], axis=1) @ np.maximum(matches.max(axis=0), 0)
        return float(0.73 * (of_words + of_frames) / 2 + 0.27 * (data.captions[i] @ text))

    scores = np.array([score(i) for i in range(COUNT)])
    best = ranking(scores, 8, lambda i: i % 2 == 0)
    assert numbers(found) == best
    assert [hit.score for hit in found] == pytest.approx(scores[best], abs=1e-4)


async def test_what_is_found_among_vectors_in_int8_is_compared_at_full_precision(
    store: VectorStore, data: Data
) -> None:
    int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
    params = DENSE.model_copy(
        update={"quantization_config": models.ScalarQuantization(scalar=int8)}
    )
    await store.create("small", CollectionSchema({"a.dense": params}, {}, {}))
    points = [
        point(str(UUID(int=i + 1)), vectors={"a.dense": data.dense[i]}, payload={})
        for i in range(COUNT)
    ]
    await store.upsert("small", points)
    schema = await store.schema("small")
    assert schema.vectors["a.dense"].quantization_config is not None
    fusing = Plan(ReciprocalRanks(), 5, (Plan(Nearest("a.dense", data.dense[3]), 5),) * 2)
    plan = rescored(Plan(Nearest("a.dense", data.dense[3]), 5), schema, 3.0)
    assert plan.order == replace(plan.order, oversampling=3.0)  # type: ignore[type-var]
    cosines = unit(data.dense) @ unit(data.dense[3])
    for asked in (plan, rescored(fusing, schema, 3.0)):
        found = await ask(store, "small", asked, None)
        assert numbers(found) == ranking(cosines, 5, lambda _: True)
    best = [hit.score for hit in await ask(store, "small", plan, None)]
    assert best == pytest.approx(np.sort(cosines)[::-1][:5], abs=1e-5)


def test_vectors_at_full_precision_are_searched_as_they_are(data: Data) -> None:
    plan = Plan(Nearest("a.dense", data.dense[3]), 5)
    assert rescored(plan, SCHEMA, 3.0).order.oversampling == 0  # type: ignore[union-attr]
