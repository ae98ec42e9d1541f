"""Scores, as far as they have come."""

import math

from tamis.models.ranking import carry_out
from tamis.models.ranking.pointwise import pointwise


def test_who_has_no_score_yet_follows_in_the_first_order() -> None:
    answers = {0: 1.0, 1: 3.0, 2: math.nan, 3: -math.inf, 4: 2.0, 5: None}
    steps = list(carry_out(pointwise(6, at_once=2), lambda jobs: [answers[i] for (i,) in jobs]))
    assert [step.order for step in steps] == [
        (1, 0, 2, 3, 4, 5), (1, 0, 2, 3, 4, 5), (1, 4, 0, 2, 3, 5),
    ]  # fmt: skip
    assert steps[-1].scores == (3.0, 2.0, 1.0, -math.inf, -math.inf, -math.inf)
