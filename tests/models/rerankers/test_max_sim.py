"""Late interaction over candidates, against the formula token by token."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.rerankers.max_sim import MaxSim
from tamis.models.retrievers import Nearest
from tamis.models.types import Candidate, Content, Query

NAMES = ("texts.tokens", "images.tokens")
COUNTS = st.tuples(st.integers(0, 3), st.integers(0, 4))


def tokens(rng: np.random.Generator, counts: tuple[int, int]) -> dict[str, np.ndarray]:
    """Representations with that many tokens; one with none is left out, as an encoder does."""
    return {
        name: rng.normal(size=(count, 5)).astype(np.float32)
        for name, count in zip(NAMES, counts, strict=True)
        if count
    }


def naive(query: dict[str, np.ndarray], document: dict[str, np.ndarray]) -> float:
    """Khattab and Zaharia's sum of maxima, for each kind of vector that both sides have."""
    sums = [
        sum(max(float(q @ d) for d in document[name].astype(float)) for q in asked.astype(float))
        for name, asked in query.items()
        if name in document
    ]
    return sum(sums) if sums else -math.inf


@given(query=COUNTS, documents=st.lists(COUNTS, max_size=6), seed=st.integers(0, 99))
def test_candidates_are_ordered_by_their_best_matches(
    query: tuple[int, int], documents: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    asked = tokens(rng, query)
    held = {str(i): tokens(rng, counts) for i, counts in enumerate(documents)}
    candidates = [Candidate(name, 1.0, representations=own) for name, own in held.items()]
    ranked = MaxSim(vectors=NAMES).rerank(Query(Content(), asked), candidates)
    expected = sorted(held, key=lambda name: (-naive(asked, held[name]), int(name)))
    assert [candidate.document_id for candidate in ranked] == expected
    for candidate in ranked:
        assert candidate.score == pytest.approx(naive(asked, held[candidate.document_id]), abs=1e-4)


def test_candidates_without_vectors_follow_in_their_old_order(rng: np.random.Generator) -> None:
    held = {name: tokens(rng, (2, 0)) for name in "bd"}
    candidates = [Candidate(name, 0.0, representations=held.get(name, {})) for name in "abcde"]
    query = Query(Content(), tokens(rng, (3, 0)))
    ranked = MaxSim(vectors=NAMES).rerank(query, candidates)
    assert {candidate.document_id for candidate in ranked[:2]} == {"b", "d"}
    assert [candidate.document_id for candidate in ranked[2:]] == ["a", "c", "e"]
    assert [candidate.score for candidate in ranked[2:]] == [-math.inf] * 3


def test_the_index_is_asked_for_the_same_sums(rng: np.random.Generator) -> None:
    """A plan for each representation that the query has; their scores are added."""
    asked = tokens(rng, (2, 3))
    plans = MaxSim(vectors=(*NAMES, "sounds.tokens")).plans(Query(Content(), asked), 9)
    assert [plan.limit for plan in plans] == [9, 9]
    for plan, name in zip(plans, NAMES, strict=True):
        assert plan.order == Nearest(name, asked[name], exact=True)


def test_an_index_is_not_asked_about_no_vectors() -> None:
    asked = {"texts.tokens": np.empty((0, 5))}
    assert MaxSim(vectors=NAMES).plans(Query(Content(), asked), 9) == ()


def test_it_needs_its_vectors() -> None:
    assert MaxSim(vectors=NAMES).needs == NAMES
    with pytest.raises(ValueError, match="vectors must name at least one representation"):
        MaxSim(vectors=())
