"""The baseline that looks at places only."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.refiners.uniform import Uniform
from tamis.models.types import VisualTokens


def image(count: int) -> VisualTokens:
    return VisualTokens(
        np.zeros((count, 2)), np.full(count, 1 / count), np.arange(count), (1, count)
    )


@given(budget=st.integers(1, 60), more=st.integers(1, 60))
def test_the_gaps_differ_by_at_most_one_token(budget: int, more: int) -> None:
    count = budget + more
    kept = Uniform(budget=budget).refine(image(count)).positions
    assert len(set(kept.tolist())) == budget
    gaps = np.diff(kept)
    assert gaps.max(initial=0) - gaps.min(initial=count) <= 1
    assert abs(int(kept[0]) - (count - 1 - int(kept[-1]))) <= 1  # as far from either end


def test_every_other_token_is_half_of_them() -> None:
    assert Uniform(budget=4).refine(image(8)).positions.tolist() == [1, 3, 5, 7]
