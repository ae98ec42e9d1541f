"""Measures against values worked out by hand, and against their definitions."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tamis.server.evaluate.dataset import Topic
from tamis.server.evaluate.measures import judged, means, pseudo_recall

IDS = some.sampled_from("abcdefgh")


def topic(**relevant: int) -> Topic:
    return Topic(id="q", group="g", text="x", relevant=relevant)


def test_the_measures_of_a_ranking_worked_out_by_hand() -> None:
    """Of a (2), b (1) and c (1), the ranking x b y a has b second and a fourth."""
    (found,) = judged([topic(a=2, b=1, c=1)], [["x", "b", "y", "a"]], [1, 2, 4])
    ideal = 2 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert found == pytest.approx(
        {
            "Recall@1": 0,
            "Recall@2": 1 / 3,
            "Recall@4": 2 / 3,
            "hit@1": 0,
            "hit@2": 1,
            "hit@4": 1,
            "MRR@4": 1 / 2,
            "nDCG@1": 0,
            "nDCG@2": (1 / log2(3)) / (2 / log2(2) + 1 / log2(3)),
            "nDCG@4": (1 / log2(3) + 2 / log2(5)) / ideal,
        }
    )


def test_a_query_that_found_nothing_counts_nought() -> None:
    nothing, something = judged([topic(a=1), topic(a=1)], [[], ["a"]], [1])
    assert set(nothing.values()) == {0}
    assert set(something.values()) == {1}
    assert means([nothing, something])["Recall@1"] == 0.5


def test_a_query_with_answers_alone_has_no_other_measures() -> None:
    assert judged([topic()], [["a"]], [1]) == [{}]


@given(
    relevant=some.dictionaries(IDS, some.integers(1, 3), min_size=1),
    ranking=some.lists(IDS, unique=True),
    k=some.integers(1, 8),
)
def test_recall_hit_and_reciprocal_rank_are_as_defined(
    relevant: dict[str, int], ranking: list[str], k: int
) -> None:
    (found,) = judged([topic(**relevant)], [ranking], [k])
    hits = [one in relevant for one in ranking[:k]]
    assert found[f"Recall@{k}"] == pytest.approx(sum(hits) / len(relevant))
    assert found[f"hit@{k}"] == any(hits)
    assert found[f"MRR@{k}"] == pytest.approx(1 / (hits.index(True) + 1) if any(hits) else 0)


def test_pseudo_recall_looks_for_any_answer_whatever_its_case() -> None:
    texts = ["Nothing of it.", "It was PARIS, then.", "paris"]
    assert pseudo_recall([" Paris ", "Lutetia"], texts, [1, 2, 3]) == {
        "pseudo-recall@1": 0,
        "pseudo-recall@2": 1,
        "pseudo-recall@3": 1,
    }
    assert pseudo_recall(["Paris"], [], [1]) == {"pseudo-recall@1": 0}


def test_a_mean_is_over_those_that_have_the_measure() -> None:
    assert means([{"a": 1.0}, {"a": 0.0, "b": 1.0}]) == {"a": 0.5, "b": 1.0}
