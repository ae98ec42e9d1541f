"""The threshold between two distributions of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.calibration import crossing

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(relevant=SCORES, other=SCORES)
def test_no_score_balances_better(relevant: list[float], other: list[float]) -> None:
    """The share lost of the relevant is as near to the share let in of the others as can be."""

    def gap(threshold: float) -> float:
        lost = sum(one < threshold for one in relevant) / len(relevant)
        let_in = sum(one >= threshold for one in other) / len(other)
        return abs(lost - let_in)

    found = crossing(relevant, other)
    assert gap(found) == pytest.approx(min(gap(one) for one in [*relevant, *other]))


def test_normal_distributions_cross_in_the_middle() -> None:
    rng = np.random.default_rng(1)
    relevant, other = rng.normal(0.8, 0.1, 4_000), rng.normal(0.4, 0.1, 4_000)
    assert crossing(list(relevant), list(other)) == pytest.approx(0.6, abs=0.01)


def test_both_kinds_are_needed() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        crossing([], [0.5])
