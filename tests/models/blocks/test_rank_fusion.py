"""Fused rankings, by hand and by what must hold of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.rank_fusion import (
    Ranking,
    distribution_based,
    min_max,
    reciprocal_ranks,
    three_deviations,
    weighted_scores,
    z_score,
)

ONE: Ranking = [("a", 9.0), ("b", 5.0), ("c", 1.0)]
TWO: Ranking = [("c", 0.5), ("a", 0.25)]
SCORES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20)


def test_reciprocal_ranks_count_from_one() -> None:
    fused = reciprocal_ranks([ONE, TWO], k=60)
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61})


def test_a_document_that_a_ranking_lacks_gets_the_least_of_it() -> None:
    fused = weighted_scores([ONE, TWO], [0.5, 2.0], min_max)
    assert fused == pytest.approx({"a": 0.5 * 1 + 0, "b": 0.5 * 0.5 + 0, "c": 0 + 2.0 * 1})
    fused = weighted_scores([ONE, TWO], [1.0, 1.0], z_score)
    assert fused["b"] == pytest.approx(0 - 1)  # the mean of one, and the least of the other


def test_an_empty_ranking_says_nothing() -> None:
    assert weighted_scores([ONE, []], [1.0, 1.0], min_max) == dict(
        weighted_scores([ONE], [1.0], min_max)
    )
    assert distribution_based([ONE, []]) == distribution_based([ONE])
    assert reciprocal_ranks([]) == {}


@pytest.mark.parametrize(
    ("scale", "equal"), [(min_max, 1.0), (z_score, 0), (three_deviations, 0.5)]
)
def test_equal_scores_are_all_the_same(scale: object, equal: float) -> None:
    for scores in ([3.0], [2.0, 2.0, 2.0]):
        assert scale(scores) == [equal] * len(scores)  # type: ignore[operator]


@given(SCORES)
def test_scales_keep_the_order(scores: list[float]) -> None:
    for scale in (min_max, z_score, three_deviations):
        scaled = scale(scores)
        assert len(scaled) == len(scores)
        pairs = sorted(zip(scores, scaled, strict=True))
        assert all(low[1] <= high[1] + 1e-9 for low, high in itertools.pairwise(pairs))
    assert all(0 <= value <= 1 for value in min_max(scores))
