"""Selection by score."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.topk import top_k


@given(st.lists(st.integers(0, 5), min_size=1), st.integers(1, 10))
def test_the_best_come_first_and_ties_go_to_the_lower_index(scores: list[int], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert top_k(np.array(scores, dtype=np.float64), k).tolist() == expected
