"""Groups of like length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.batches import SLACK, alike


@given(lengths=st.lists(st.integers(2, 256), max_size=50), room=st.integers(1, 2000))
def test_each_is_in_one_group_of_its_like(lengths: list[int], room: int) -> None:
    groups = alike(np.array(lengths, dtype=np.int64), room=room)
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        own = [lengths[i] for i in group]
        assert max(own) <= max(min(own) * 1.25, min(own) + SLACK)
        assert len(own) == 1 or max(own) * len(own) <= room


def test_equals_are_one_group() -> None:
    (group,) = alike(np.full(32, 128), room=8192)
    assert len(group) == 32
