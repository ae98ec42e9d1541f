"""Pairwise plans, against the published folds and the counts that follow from their formulas."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from golden import golden_cases
from oracle import Oracle

from tamis.models.ranking import Job, Step, carry_out
from tamis.models.ranking.pairs import all_pair, bubbles, heapsort, won

COUNTS = [0, 1, 2, 3, 5, 8, 20, 33]


def last(steps: Sequence[Step]) -> Step:
    return steps[-1]


@pytest.mark.parametrize("count", COUNTS)
def test_all_pair_asks_every_ordered_pair_once(count: int) -> None:
    oracle = Oracle(range(count))
    list(carry_out(all_pair(count), oracle.pairs))
    assert len(oracle.asked) == len({*oracle.asked}) == max(count * (count - 1), 0)


@pytest.mark.parametrize("count", COUNTS)
def test_one_way_asks_half_of_them_and_the_better_placed_first(count: int) -> None:
    oracle = Oracle(range(count))
    list(carry_out(all_pair(count, both_ways=False), oracle.pairs))
    assert sorted(oracle.asked) == [(a, b) for a in range(count) for b in range(a + 1, count)]


@pytest.mark.parametrize("count", [6, 7])
def test_in_a_round_of_all_pair_nobody_plays_twice(count: int) -> None:
    oracle = Oracle(range(count))
    steps = list(carry_out(all_pair(count), oracle.pairs, at_once=count * count))
    assert len(steps) == count - 1 + count % 2
    assert {*oracle.layers} == {count - count % 2}


@pytest.mark.parametrize("count", COUNTS)
def test_heapsort_asks_no_more_than_its_bound(count: int) -> None:
    """Building takes at most 2 n comparisons and each pop 2 log2 n; a comparison is two calls."""
    oracle = Oracle([*range(0, count, 2), *range(1, count, 2)])
    steps = list(carry_out(heapsort(count), oracle.pairs))
    assert last(steps).order == oracle.best
    comparisons = 2 * count + sum(2 * math.floor(math.log2(left)) for left in range(1, count))
    assert len(oracle.asked) <= 2 * comparisons
    assert len({*oracle.asked}) == len(oracle.asked), "no pair is asked about twice"


def test_a_heap_finds_the_best_without_sorting_the_rest() -> None:
    relevance = [3, 9, 1, 7, 0, 8, 2, 6, 5, 4]
    whole, three = Oracle(relevance), Oracle(relevance)
    list(carry_out(heapsort(10), whole.pairs))
    order = last(list(carry_out(heapsort(10, top=3), three.pairs))).order
    assert order == (1, 5, 3, 0, 2, 4, 6, 7, 8, 9)
    assert len(three.asked) < len(whole.asked)


@pytest.mark.parametrize(("count", "passes"), [(2, 1), (9, 1), (9, 3), (20, 10)])
def test_bubbles_ask_n_minus_1_comparisons_a_pass(count: int, passes: int) -> None:
    """Less those pairs that have met before."""
    oracle = Oracle(range(count))
    steps = list(carry_out(bubbles(count, passes), oracle.pairs))
    assert last(steps).order[:passes] == oracle.best[:passes]
    assert len(oracle.asked) <= 2 * passes * (count - 1)
    if passes == 1:
        assert len(oracle.asked) == 2 * (count - 1)
    assert len(steps) <= count - 1 + 2 * (passes - 1)


def test_only_what_both_orders_say_is_a_win() -> None:
    assert won(0.9, 0.2) == 1
    assert won(0.2, 0.9) == -1
    assert won(0.9, 0.9) == won(0.2, 0.2) == won(0.5, 0.2) == 0
    assert won(None, 0.2) == won(0.9, None) == won(math.nan, 0.2) == 0


@pytest.mark.parametrize("case", golden_cases("prp_aggregation"))
def test_the_folds_are_those_of_the_reference(case: Path) -> None:
    asked = json.loads((case / "inputs.json").read_text())["cases"]
    expected = json.loads((case / "outputs.json").read_text())
    for given, wanted in zip(asked, expected, strict=True):
        letters, first = given["answers"], given["prob_first"]
        count = len(letters)
        calls: list[Job] = []

        def answer(jobs: Sequence[Job]) -> list[float | None]:
            calls.extend(jobs)  # noqa: B023 - used at once
            return [{"A": 1.0, "B": 0.0}.get(letters[a][b]) for a, b in jobs]  # noqa: B023

        done = last(list(carry_out(all_pair(count), answer)))
        assert list(done.order) == wanted["allpair_order"]
        assert done.scores == tuple(wanted["allpair_scores"][i] for i in done.order)
        assert len(calls) == wanted["allpair_calls"]
        for passes, sliding in wanted["sliding"].items():
            done = last(list(carry_out(bubbles(count, int(passes)), answer)))
            assert list(done.order) == sliding["order"]
        sums = wanted["rank_llm_pairwise"]
        done = last(
            list(
                carry_out(
                    all_pair(count, both_ways=False),
                    lambda jobs: [first[a][b] for a, b in jobs],  # noqa: B023
                )
            )
        )
        assert list(done.order) == sums["order"]
        assert done.scores == pytest.approx([sums["scores"][f"d{i}"] for i in done.order], abs=1e-9)
