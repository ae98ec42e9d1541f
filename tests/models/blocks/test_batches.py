"""Groups of like length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.batches import MOST, SLACK, alike, padded


@given(lengths=st.lists(st.integers(0, 256), max_size=50), room=st.integers(1, 2000))
def test_each_is_in_one_group_of_its_like(lengths: list[int], room: int) -> None:
    groups = alike(np.array(lengths, dtype=np.int64), room=room)
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        own = [lengths[i] for i in group]
        assert len(own) <= MOST
        assert max(own) <= max(min(own) * 1.25, min(own) + SLACK)
        assert len(own) == 1 or max(own) * len(own) <= room


def test_equals_are_together_as_far_as_an_engine_goes() -> None:
    groups = alike(np.full(MOST + 5, 8), room=8192)
    assert [len(group) for group in groups] == [MOST, 5]


def test_rows_are_filled_on_either_side() -> None:
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = padded([[5, 6, 7], [8], []], side="left")
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8], [0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert padded([])[0].shape == (0, 0)
