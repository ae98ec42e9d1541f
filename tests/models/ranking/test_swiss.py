"""PRP-Graph's Swiss tournament."""

from itertools import pairwise

import numpy as np
import pytest
from oracle import Oracle

from tamis.models.blocks.pagerank import pagerank
from tamis.models.ranking import carry_out
from tamis.models.ranking.swiss import swiss


@pytest.mark.parametrize("count", [2, 9, 10, 31])
@pytest.mark.parametrize("rounds", [1, 4, 8])
def test_no_pair_meets_twice_and_a_round_asks_everybody_at_most_once(
    count: int, rounds: int
) -> None:
    oracle = Oracle([(i * 7) % count for i in range(count)])
    list(carry_out(swiss(count, rounds), oracle.pairs, at_once=count))
    assert len({*oracle.asked}) == len(oracle.asked) <= rounds * count
    assert {(b, a) for a, b in oracle.asked} == {*oracle.asked}, "every pair in both orders"
    assert oracle.layers[0] == count - count % 2


def test_the_last_of_an_odd_number_never_plays_and_stays_last() -> None:
    oracle = Oracle(range(7))
    (*_, last) = carry_out(swiss(7, 4), oracle.pairs)
    assert last.order[-1] == 6
    assert not any(6 in job for job in oracle.asked)


def test_the_first_round_pairs_neighbours_and_the_second_the_standings() -> None:
    oracle = Oracle([1, 2, 3, 4])
    list(carry_out(swiss(4, 2), oracle.pairs, at_once=4))
    assert oracle.asked[:4] == [(0, 1), (1, 0), (2, 3), (3, 2)]
    # By hand: weights 1, .99, .98, .97 become 1, 1.99, .98, 1.95; 1 meets 3, and 0 meets 2.
    assert oracle.asked[4:] == [(1, 3), (3, 1), (0, 2), (2, 0)]


def test_the_order_is_that_of_pagerank_over_the_games() -> None:
    """One round of four: the losers' edges go to the winners, half a game each way."""
    answers = {(0, 1): 0.2, (1, 0): 0.7, (2, 3): 0.9, (3, 2): 0.4}
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    (last,) = carry_out(swiss(4, 1, prior=prior), lambda jobs: [answers[a, b] for a, b in jobs])
    edges = np.zeros((4, 4))
    for (player, opponent), score in answers.items():
        edges[opponent, player] = score
    expected = pagerank(edges, prior)
    assert last.order == tuple(np.argsort(-expected, kind="stable"))
    assert last.scores == pytest.approx(sorted(expected, reverse=True))
    assert all(first >= second for first, second in pairwise(last.scores or ()))
