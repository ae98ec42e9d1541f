"""ListT5's tournament: what is asked, how often, and who wins."""

import pytest
from oracle import Oracle

from tamis.models.ranking import carry_out
from tamis.models.ranking.tournament import tournament


def shown(oracle: Oracle) -> list[frozenset[int]]:
    return [frozenset(job) for job in oracle.asked]


def test_the_first_round_is_one_layer_and_a_further_winner_costs_few_groups_a_round() -> None:
    """100 in fives, two of which go on. A group of one or two goes on without being asked about."""
    oracle = Oracle([(i * 37) % 100 for i in range(100)])
    steps = list(carry_out(tournament(100, top=1), oracle.orders, at_once=100))
    assert oracle.layers == [20, 8, 3, 1, 1]
    assert steps[-1].order[0] == oracle.best[0]
    more = Oracle(oracle.relevance)
    steps = list(carry_out(tournament(100, top=10), more.orders, at_once=100))
    assert steps[-1].order[:10] == oracle.best[:10]
    # One group of the first and of the last round; two where those who go on are split.
    assert len(more.asked) - len(oracle.asked) <= 9 * (1 + 2 + 2 + 2 + 1)


def test_who_is_not_among_the_best_keeps_the_first_order() -> None:
    oracle = Oracle([0, 5, 1, 4, 2, 3, 9, 6])
    (*_, last) = carry_out(tournament(8, top=2), oracle.orders)
    assert last.order == (6, 7, 0, 1, 2, 3, 4, 5)


def test_a_prompt_is_as_large_as_the_model_knows() -> None:
    """Those that fill it up are others, and do not count."""
    oracle = Oracle([(i * 5) % 13 for i in range(13)])
    (*_, last) = carry_out(tournament(13, top=13), oracle.orders)
    assert {len(job) for job in oracle.asked} == {5}
    assert last.order == oracle.best


def test_nobody_is_asked_the_same_twice() -> None:
    oracle = Oracle([(i * 7) % 30 for i in range(30)])
    list(carry_out(tournament(30, top=30), oracle.orders))
    assert len({*oracle.asked}) == len(oracle.asked)


@pytest.mark.parametrize("keep", [0, 5])
def test_some_but_not_all_of_a_group_go_on(keep: int) -> None:
    with pytest.raises(ValueError, match="needs 1 <= keep < size"):
        next(tournament(9, keep=keep))
