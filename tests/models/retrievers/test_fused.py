"""Plans of the retrievers that fuse scores, and of those with a scorer of their own."""

from typing import Any

import numpy as np
import pytest

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.retrievers import (
    DistributionBased,
    Nearest,
    Plan,
    Retriever,
    Scored,
    WeightedScores,
)
from tamis.models.retrievers.bm25 import BM25
from tamis.models.retrievers.convex_combination import ConvexCombination
from tamis.models.retrievers.dbsf import Dbsf
from tamis.models.retrievers.dense import Dense
from tamis.models.retrievers.poly_encoder import PolyEncoder
from tamis.models.types import Content, Query, Representation, Sparse

WORDS, MEANING, LOOKS = BM25(), Dense(vector="minilm.dense"), Dense(vector="clip.dense")
GIVEN: dict[str, Representation] = {
    "bm25.terms": Sparse(np.array([3]), np.array([1.0])),
    "minilm.dense": np.array([1.0, 0.0]),
    "clip.dense": np.array([0.0, 1.0]),
}


def query(*names: str) -> Query:
    return Query(Content(), {name: GIVEN[name] for name in names})


def test_weights_go_with_the_retrievers_that_a_query_has_something_for() -> None:
    fusing = ConvexCombination(retrievers=(WORDS, MEANING, LOOKS), weights=(0.5, 0.3, 0.2))
    plan = fusing.plan(query("bm25.terms", "clip.dense"), 5)
    assert plan is not None
    assert plan.order == WeightedScores((0.5, 0.2), "min_max")
    assert [part.limit for part in plan.prefetch] == [100, 100]


def test_without_weights_all_say_the_same() -> None:
    fusing = ConvexCombination(retrievers=(WORDS, MEANING), scale="z_score")
    plan = fusing.plan(query("bm25.terms", "minilm.dense"), 5)
    assert plan is not None
    assert plan.order == WeightedScores((0.5, 0.5), "z_score")


def test_scores_are_fused_by_their_distribution() -> None:
    plan = Dbsf(retrievers=(WORDS, MEANING), depth=7).plan(query("bm25.terms", "minilm.dense"), 5)
    assert plan is not None
    assert (plan.order, [part.limit for part in plan.prefetch]) == (DistributionBased(), [7, 7])


@pytest.mark.parametrize("name", ["dbsf", "convex_combination"])
def test_a_single_ranking_keeps_its_scores(name: str) -> None:
    parts = [{"method": "bm25"}, {"method": "dense", "settings": {"vector": "minilm.dense"}}]
    plan = catalog.load(Retriever, name, {"retrievers": parts}).plan(query("minilm.dense"), 5)
    assert plan is not None
    assert isinstance(plan.order, Nearest)
    assert plan.limit == 5


def test_each_code_of_a_poly_encoder_brings_candidates() -> None:
    codes = np.arange(6, dtype=np.float32).reshape(3, 2)
    asked = Query(Content(), {"poly.poly": codes})
    plan = PolyEncoder(vector="poly.poly", depth=20).plan(asked, 5)
    assert plan is not None
    assert isinstance(plan.order, Scored)
    (union,) = plan.prefetch
    assert (plan.limit, union.limit) == (5, 60)
    orders = [part.order for part in union.prefetch]
    given = [order.query for order in orders if isinstance(order, Nearest)]
    assert np.array_equal(np.concatenate(given), codes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        (
            "convex_combination",
            {"weights": [1.0]},
            "weights must be as many as retrievers, 2, not 1",
        ),
        ("convex_combination", {"weights": [1.0, -1.0]}, "weights must be at least 0"),
        (
            "convex_combination",
            {"scale": "rank"},
            "scale must be one of min_max, z_score, not 'rank'",
        ),
        ("dbsf", {"depth": 0}, "depth must be at least 1, not 0"),
        ("poly_encoder", {"vector": "a.b", "attention": "soft"}, "attention must be basic or sqrt"),
        ("poly_encoder", {"vector": "a.b", "depth": 0}, "depth must be at least 1, not 0"),
        ("cap4video", {"share": 2.0}, "share must be from 0 to 1"),
        ("cap4video", {"depth": 0}, "depth must be at least 1, not 0"),
    ],
)
def test_a_bad_setting_is_refused(name: str, table: dict[str, Any], message: str) -> None:
    if name in ("convex_combination", "dbsf"):
        table = {"retrievers": [{"method": "bm25"}, {"method": "bm25"}]} | table
    with pytest.raises(SettingsError, match=message):
        catalog.load(Retriever, name, table)


def test_a_query_of_another_kind_has_no_plan() -> None:
    nothing: Plan | None = Dbsf(retrievers=(WORDS, MEANING)).plan(query("clip.dense"), 5)
    assert nothing is None
