"""Greedy decoding among what is left."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tamis.models.networks.naming import named_once

LOGITS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.data(), st.integers(1, 3), st.integers(1, 5))
def test_each_is_named_once_whatever_the_logits(
    data: st.DataObject, rows: int, choices: int
) -> None:
    told: list[list[int] | None] = []

    def following(chosen: Tensor | None) -> Tensor:
        told.append(None if chosen is None else chosen.tolist())
        row = st.lists(LOGITS, min_size=choices, max_size=choices)
        return torch.tensor([data.draw(row) for _ in range(rows)])

    named = named_once(following, rows, choices)
    assert [sorted(row) for row in named.tolist()] == [list(range(choices))] * rows
    assert told == [None, *named.T.tolist()[:-1]], "it is told what was named last"


def test_the_likeliest_of_those_that_are_left_comes_next() -> None:
    named = named_once(lambda chosen: torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]]), 2, 3)
    assert named.tolist() == [[1, 2, 0], [2, 0, 1]]
