"""The plan of a fused search, and how it is written in TOML."""

import tomllib
from typing import Any

import numpy as np
import pytest

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.retrievers import Nearest, Plan, ReciprocalRanks, Retriever
from tamis.models.retrievers.bm25 import BM25
from tamis.models.retrievers.dense import Dense
from tamis.models.retrievers.hybrid import Hybrid
from tamis.models.types import Content, Query, Sparse

WORDS, MEANING = BM25(), Dense(vector="minilm.dense")
TERMS, VECTOR = Sparse(np.array([3]), np.array([1.0])), np.array([1.0, 0.0])


def query(**representations: Any) -> Query:
    named = {"terms": "bm25.terms", "dense": "minilm.dense"}
    return Query(Content(), {named[key]: value for key, value in representations.items()})


def test_the_rankings_of_all_are_fused() -> None:
    plan = Hybrid(retrievers=(WORDS, MEANING), k=10, depth=50).plan(
        query(terms=TERMS, dense=VECTOR), 5
    )
    assert plan is not None
    assert (plan.order, plan.limit) == (ReciprocalRanks(10), 5)
    assert [part.limit for part in plan.prefetch] == [50, 50]
    orders = [part.order for part in plan.prefetch]
    assert [order.vector for order in orders if isinstance(order, Nearest)] == [
        "bm25.terms",
        "minilm.dense",
    ]


def test_each_finds_as_many_as_are_asked_for() -> None:
    plan = Hybrid(retrievers=(WORDS, MEANING), depth=50).plan(query(terms=TERMS, dense=VECTOR), 80)
    assert plan is not None
    assert [part.limit for part in plan.prefetch] == [80, 80]


def test_what_a_query_gives_nothing_to_is_left_out() -> None:
    """One that remains is not fused: its own scores say more than its ranks."""
    plan = Hybrid(retrievers=(WORDS, MEANING)).plan(query(terms=TERMS), 5)
    assert plan == Plan(Nearest("bm25.terms", TERMS), 5)
    assert Hybrid(retrievers=(WORDS, MEANING)).plan(query(), 5) is None


def test_it_needs_what_its_retrievers_need_once() -> None:
    both = Dense(vector="a.dense", query=("minilm.dense", "a.dense"))
    hybrid = Hybrid(retrievers=(WORDS, MEANING, both))
    assert hybrid.needs == ("bm25.terms", "minilm.dense", "a.dense")
    assert hybrid.vectors == ("bm25.terms", "minilm.dense", "a.dense")


def test_it_is_opened_from_toml_also_within_itself() -> None:
    table = tomllib.loads("""
        k = 20
        [[retrievers]]
        method = "bm25"
        [[retrievers]]
        method = "hybrid"
        [[retrievers.settings.retrievers]]
        method = "dense"
        settings = { vector = "minilm.dense" }
        [[retrievers.settings.retrievers]]
        method = "hybrid"
        [[retrievers.settings.retrievers.settings.retrievers]]
        method = "max_sim"
        settings = { vector = "minilm.tokens" }
    """)
    opened = catalog.load(Retriever, "hybrid", table)
    assert isinstance(opened, Hybrid)
    assert opened.k == 20
    outer, inner = opened.retrievers
    assert outer == BM25()
    assert isinstance(inner, Hybrid)
    assert inner.retrievers[0] == Dense(vector="minilm.dense")
    assert opened.vectors == ("bm25.terms", "minilm.dense", "minilm.tokens")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"hybrid\.retrievers: missing"),
        ({"retrievers": []}, r"hybrid: retrievers must name at least one"),
        ({"retrievers": ["bm25"]}, r"hybrid: expected a table of method and settings, got 'bm25'"),
        ({"retrievers": [{"settings": {}}]}, r"hybrid\.method: missing"),
        ({"retrievers": [{"method": "bm26"}]}, r"'bm26' is not one of: bm25, "),
        ({"retrievers": [{"method": "dense"}]}, r"hybrid\.dense\.vector: missing"),
        (
            {"retrievers": [{"method": "bm25", "settings": {"vektor": "a"}}]},
            r"hybrid\.bm25\.vektor: unknown; known: vector",
        ),
        ({"retrievers": [{"method": "bm25"}], "k": 0}, r"k must be at least 1, not 0"),
        ({"retrievers": [{"method": "bm25"}], "depth": 0}, r"depth must be at least 1, not 0"),
    ],
)
def test_a_bad_setting_names_its_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Retriever, "hybrid", table)
