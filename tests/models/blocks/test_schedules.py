from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.schedules import changes, check, greedy, sigmoid_rates

GRID = (0.25, 0.5, 0.75, 1.0)


@given(needs=st.lists(st.sampled_from(GRID), min_size=2, max_size=4))
def test_greedy_finds_what_an_exhaustive_search_finds(needs: list[float]) -> None:
    """Each layer needs a share; with less the metric falls. Of what does, the least is best."""
    needs = sorted(needs, reverse=True)

    def metric(rates: tuple[float, ...]) -> float:
        return 1.0 - sum(max(0.0, need - rate) for need, rate in zip(needs, rates, strict=True))

    found = greedy(metric, len(needs), GRID, tolerance=0.0)
    falling = [r for r in product(GRID, repeat=len(needs) - 1) if list(r) == sorted(r)[::-1]]
    good = [(1.0, *r) for r in falling if metric((1.0, *r)) == 1.0]
    assert found == min(good, key=sum)


def test_greedy_asks_seldom() -> None:
    asked = []

    def metric(rates: tuple[float, ...]) -> float:
        asked.append(rates)
        return 1.0

    assert greedy(metric, 8, GRID) == (1.0, *[0.25] * 7)
    assert len(asked) <= 1 + 2 + 6


@given(
    layers=st.integers(2, 40),
    bottom=st.floats(0.01, 0.4),
    share=st.floats(0.05, 0.95),
    steepness=st.floats(0, 50),
)
def test_a_sigmoid_falls_and_meets_its_budget(
    layers: int, bottom: float, share: float, steepness: float
) -> None:
    budget = bottom + share * (1 - bottom)
    if steepness < 10:  # a flat curve cannot reach far up or down
        budget = (1 + bottom) / 2
    rates = sigmoid_rates(layers, budget, top=1.0, bottom=bottom, steepness=steepness)
    assert np.mean(rates) == pytest.approx(budget, abs=1e-3)
    assert list(rates) == sorted(rates, reverse=True)
    assert bottom - 1e-9 <= min(rates) <= max(rates) <= 1 + 1e-9


def test_tokens_go_where_a_layer_keeps_fewer() -> None:
    assert changes((1.0, 1.0, 0.5, 0.5, 0.25)) == (2, 4)
    assert changes((0.5, 0.5, 0.5)) == (1,)  # the first layer reads all, whatever it should


@pytest.mark.parametrize("rates", [(), (0.5, 0.6), (1.0, 0.0), (1.5,)])
def test_a_schedule_that_rises_or_ends_is_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rates must"):
        check(rates)
