"""What the bases make of a method's functions: orders on the way, within bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tamis.models import ranking
from tamis.models.ranking import Bounds
from tamis.models.ranking.pairs import all_pair
from tamis.models.ranking.windows import sliding_windows
from tamis.models.rerankers import PlannedReranker, PointwiseReranker
from tamis.models.rerankers.identity import Identity
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="longest"))
CANDIDATES = [Candidate(text, 9.0 - i, Content(text=text)) for i, text in enumerate(
    ["b", "aa", "cccc", "ddd", "eeeee"]
)]  # fmt: skip


def length(candidate: Candidate) -> int:
    return len(candidate.content.text or "")


@dataclass(frozen=True, kw_only=True)
class Length(PointwiseReranker):
    """The longest text first; what is called "nan" has no score."""

    checked: ClassVar = "by definition"
    at_once: ClassVar = 2

    def score(self, query: Query, candidates: Sequence[Candidate]) -> np.ndarray:
        return np.array([math.nan if c.document_id == "nan" else length(c) for c in candidates])


@dataclass(frozen=True, kw_only=True)
class Lists(PlannedReranker[Sequence[int]]):
    """The same, window by window."""

    checked: ClassVar = "by definition"

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return sliding_windows(len(candidates), size=3, step=2)

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        return [sorted(range(len(one)), key=lambda i: -length(one[i])) for one in shown]


@dataclass(frozen=True, kw_only=True)
class Pairs(PlannedReranker[float]):
    """The same, pair by pair."""

    checked: ClassVar = "by definition"

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        return all_pair(len(candidates))

    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> list[float | None]:
        return [float(length(a) > length(b)) for a, b in shown]


def ids(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.document_id for candidate in candidates]


def test_a_method_that_works_in_one_go_has_one_ranking() -> None:
    (only,) = Identity().rankings(QUERY, CANDIDATES, Bounds(max_calls=0))
    assert (only.candidates, only.settled, only.done) == (CANDIDATES, range(5), True)


@pytest.mark.parametrize("method", [Length(), Pairs()])
def test_the_last_ranking_is_the_result(method: Length | Pairs) -> None:
    *before, last = method.rankings(QUERY, CANDIDATES)
    assert last.done
    assert not any(one.done for one in before)
    assert before
    assert last.candidates == method.rerank(QUERY, CANDIDATES)
    assert ids(last.candidates) == ["eeeee", "cccc", "ddd", "aa", "b"]


def test_what_has_no_score_yet_follows() -> None:
    first, *_ = Length().rankings(QUERY, CANDIDATES)
    assert ids(first.candidates) == ["aa", "b", "cccc", "ddd", "eeeee"]
    (*_, last) = Length().rankings(QUERY, CANDIDATES, Bounds(max_calls=3))
    assert not last.done
    assert ids(last.candidates) == ["cccc", "aa", "b", "ddd", "eeeee"]


def test_no_number_is_no_score() -> None:
    candidates = [Candidate("nan", 1.0), Candidate("x", 0.5, Content(text="x"))]
    (*_, last) = Length().rankings(QUERY, candidates)
    for ranked in (Length().rerank(QUERY, candidates), last.candidates):
        assert [(c.document_id, c.score) for c in ranked] == [("x", 1.0), ("nan", -math.inf)]


def test_lists_leave_the_scores_with_the_ranks() -> None:
    (*_, last) = Lists().rankings(QUERY, CANDIDATES)
    assert ids(last.candidates)[0] == "eeeee"
    assert [candidate.score for candidate in last.candidates] == [9.0, 8.0, 7.0, 6.0, 5.0]


def test_points_are_the_scores_of_pairs() -> None:
    assert [candidate.score for candidate in Pairs().rerank(QUERY, CANDIDATES)] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("method", [Length(), Lists(), Pairs()])
def test_no_candidates_are_ranked_as_none(method: Length | Lists | Pairs) -> None:
    assert method.rerank(QUERY, []) == []
    assert [(one.candidates, one.done) for one in method.rankings(QUERY, [])] == [([], True)]
