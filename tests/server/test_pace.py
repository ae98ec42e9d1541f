import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.server.pace import Pace

sizes = st.floats(1, 1_000)
times = st.floats(1e-6, 10)


def learnt(*work: tuple[float, float]) -> Pace:
    pace = Pace()
    for size, seconds in work:
        pace.took(size, seconds)
    return pace


def test_nothing_is_known_before_anything_ran() -> None:
    assert Pace().seconds(10) == 0
    assert Pace().size(1) == math.inf


def test_it_finds_the_line_through_what_it_saw() -> None:
    pace = learnt(*((size, 0.1 + 0.01 * size) for size in (1, 50, 20, 7, 30) * 30))
    assert pace.seconds(40) == pytest.approx(0.5, rel=0.05)
    assert pace.size(0.5) == pytest.approx(40, rel=0.05)


def test_of_one_size_only_larger_work_takes_longer_in_proportion() -> None:
    pace = learnt(*[(50, 1.0)] * 100)
    assert pace.seconds(100) == pytest.approx(2.0)
    assert pace.size(0.5) == pytest.approx(25)


def test_it_follows_a_change() -> None:
    pace = learnt(*[(10, 1.0)] * 100, *[(10, 0.1)] * 200)
    assert pace.seconds(10) == pytest.approx(0.1, rel=0.05)


def test_work_that_varies_is_expected_to_take_longer_than_the_mean() -> None:
    assert learnt(*[(10, 0.5), (10, 1.5)] * 100).seconds(10) > 1.2


@given(st.lists(st.tuples(sizes, times), min_size=1, max_size=50), sizes)
def test_estimates_are_never_negative_and_rise_with_the_size(
    work: list[tuple[float, float]], size: float
) -> None:
    pace = learnt(*work)
    assert 0 <= pace.seconds(size) <= pace.seconds(2 * size) + 1e-9


@given(st.lists(st.tuples(sizes, times), min_size=1, max_size=50), times)
def test_what_fits_in_a_time_takes_no_longer(work: list[tuple[float, float]], left: float) -> None:
    pace = learnt(*work)
    fits = pace.size(left)
    assert fits >= 0
    if 0 < fits < math.inf:
        assert pace.seconds(fits) <= left * (1 + 1e-6) + 1e-9
