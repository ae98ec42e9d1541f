"""CMRF, vector by vector."""

import math
from functools import partial

import numpy as np
import pytest
from candidates import score_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.rerankers.cmrf import CMRF

score = partial(score_of, CMRF(query="a.tokens", document="b.tokens", temperature=0.3))


def naive(asked: np.ndarray, held: np.ndarray) -> float:
    """The mean of both directions: each side's mean against the mean of what it read."""

    def direction(reader: np.ndarray, other: np.ndarray) -> float:
        own, read = np.zeros(reader.shape[1]), np.zeros(reader.shape[1])
        for vector in reader:
            vector = vector / np.linalg.norm(vector)
            own += vector
            directions = [one / np.linalg.norm(one) for one in other]
            powers = [math.exp(float(vector @ one) / 0.3) for one in directions]
            for power, one in zip(powers, directions, strict=True):
                read += power / sum(powers) * one
        return float(own @ read / np.linalg.norm(own) / np.linalg.norm(read))

    return (direction(asked, held) + direction(held, asked)) / 2


@settings(max_examples=25)
@given(counts=st.tuples(st.integers(1, 4), st.integers(1, 5)), seed=st.integers(0, 99))
def test_the_formula(counts: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked, held = (rng.normal(size=(count, 6)) for count in counts)
    assert score(asked, held) == pytest.approx(naive(asked, held), abs=1e-9)
    assert score(asked[::-1], held[::-1]) == pytest.approx(score(asked, held), abs=1e-9)


def test_the_temperature_is_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be more than 0, not 0"):
        CMRF(query="a", document="b", temperature=0.0)
