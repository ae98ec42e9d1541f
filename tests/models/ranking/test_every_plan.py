"""What holds for every plan: permutations, bounds, and the truth from a model that knows it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, inversions

from tamis.models.ranking import UNBOUNDED, Bounds, Job, Plan, Step, best_first, carry_out
from tamis.models.ranking.pairs import all_pair, bubbles, heapsort
from tamis.models.ranking.pointwise import pointwise
from tamis.models.ranking.swiss import swiss
from tamis.models.ranking.tournament import tournament
from tamis.models.ranking.windows import sliding_windows

Ask = Callable[[Sequence[Job]], Sequence[Any]]
PLANS: dict[str, tuple[Callable[[int], Plan[Any]], str]] = {
    "pointwise": (lambda n: pointwise(n, at_once=7), "scores"),
    "windows": (lambda n: sliding_windows(n, size=6, step=3), "orders"),
    "windows_unclamped": (lambda n: sliding_windows(n, size=6, step=3, clamped=False), "orders"),
    "tournament": (lambda n: tournament(n, size=5, keep=2, top=n), "orders"),
    "all_pair": (all_pair, "pairs"),
    "one_way": (lambda n: all_pair(n, both_ways=False), "pairs"),
    "heapsort": (heapsort, "pairs"),
    "bubbles": (lambda n: bubbles(n, n), "pairs"),
    "swiss": (lambda n: swiss(n, n), "pairs"),
}
# One pass of windows carries the best to the top and does not sort the rest; the others find all.
ONE_PASS = {"windows", "windows_unclamped"}
EVERY = pytest.mark.parametrize("name", PLANS)


def steps(
    name: str, relevance: Sequence[int], bounds: Bounds = UNBOUNDED
) -> tuple[list[Step], Oracle]:
    make, answers = PLANS[name]
    oracle = Oracle(relevance)
    return list(carry_out(make(len(relevance)), getattr(oracle, answers), bounds)), oracle


def shuffled(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).permutation(count)]


@EVERY
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 24, 31])
def test_a_model_that_knows_gives_the_true_order(name: str, count: int) -> None:
    ranked, oracle = steps(name, shuffled(count))
    last = ranked[-1]
    assert sorted(last.order) == list(range(count))
    assert not last.jobs
    if name == "swiss" and count % 2:
        played = [place for place in oracle.best if place != count - 1]
        assert last.order == (*played, count - 1)  # the last of an odd number never plays
    elif name not in ONE_PASS:
        assert last.order == oracle.best
    elif name == "windows":
        assert last.order[:3] == oracle.best[:3]


@EVERY
def test_a_third_of_the_calls_is_better_than_none(name: str) -> None:
    relevance = shuffled(30, seed=1)
    _, whole = steps(name, relevance)
    limit = len(whole.asked) // 3
    ranked, oracle = steps(name, relevance, Bounds(max_calls=limit))
    last = ranked[-1]
    assert len(oracle.asked) == limit
    assert last.jobs, "it says that it is not at its end"
    assert sorted(last.order) == list(range(30))
    assert inversions(last.order, relevance) < inversions(range(30), relevance)


@EVERY
def test_it_stops_before_the_next_batch_when_the_time_is_up(name: str) -> None:
    make, answers = PLANS[name]
    oracle = Oracle(shuffled(30, seed=2))
    bounds = Bounds(stopped=lambda: len(oracle.layers) >= 2)
    ranked = list(carry_out(make(30), getattr(oracle, answers), bounds, at_once=4))
    assert len(oracle.layers) == 2
    assert max(oracle.layers) <= 4
    assert ranked[-1].jobs
    assert sorted(ranked[-1].order) == list(range(30))


@EVERY
def test_without_a_call_the_first_stage_stands(name: str) -> None:
    ranked, oracle = steps(name, shuffled(12), Bounds(max_calls=0))
    assert [step.order for step in ranked] == [tuple(range(12))]
    assert ranked[0].jobs
    assert not oracle.asked


@EVERY
def test_a_model_that_says_nothing_changes_nothing(name: str) -> None:
    make, _ = PLANS[name]
    ranked = list(carry_out(make(13), lambda jobs: [None] * len(jobs)))
    if name != "swiss":  # whose first weights differ
        assert ranked[-1].order == tuple(range(13))
    assert not ranked[-1].jobs


@EVERY
@settings(max_examples=40)
@given(data=st.data(), count=st.integers(0, 14))
def test_any_answers_give_a_permutation_and_settled_ranks_stay(
    name: str, data: st.DataObject, count: int
) -> None:
    make, kind = PLANS[name]
    numbers = st.none() | st.floats(allow_nan=True, allow_infinity=True)
    answer = st.none() | st.lists(st.integers(-3, 30)) if kind == "orders" else numbers

    def ask(jobs: Sequence[Job]) -> list[Any]:
        assert len({*jobs}) == len(jobs), "nothing is asked twice in a layer"
        assert all(len({*job}) == len(job) for job in jobs)
        return [data.draw(answer) for _ in jobs]

    before: Step | None = None
    for step in carry_out(make(count), ask):
        assert sorted(step.order) == list(range(count))
        if step.scores is not None:
            assert list(step.scores) == sorted(step.scores, reverse=True)
            assert len(step.scores) == count
        if before is not None:
            for rank in before.settled:
                assert step.order[rank] == before.order[rank]
                assert rank in step.settled
        before = step
    assert before is not None
    assert before.settled == range(count)


def test_ties_and_what_is_no_number_stay_in_order() -> None:
    assert best_first([1.0, math.nan, 2.0, -math.inf, 2.0]) == (2, 4, 0, 1, 3)
