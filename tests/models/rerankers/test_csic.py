"""CSIC, token by token."""

import math
from functools import partial

import numpy as np
import pytest
from candidates import score_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.rerankers.csic import CSIC

score = partial(score_of, CSIC(query="a.tokens", document="b.tokens", temperature=0.3))


def naive(asked: np.ndarray, held: np.ndarray) -> float:
    """Importance within and across, their geometric mean, and the cosine of the weighed means."""

    def cos(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def received(readers: np.ndarray, tokens: np.ndarray) -> list[float]:
        got = [0.0] * len(tokens)
        for reader in readers:
            powers = [math.exp(cos(reader, token) / 0.3) for token in tokens]
            for i, power in enumerate(powers):
                got[i] += power / sum(powers) / len(readers)
        return got

    def mean(tokens: np.ndarray, others: np.ndarray) -> np.ndarray:
        pairs = zip(received(tokens, tokens), received(others, tokens), strict=True)
        weights = [math.sqrt(own * foreign) for own, foreign in pairs]
        total = np.zeros(tokens.shape[1])
        for weight, token in zip(weights, tokens, strict=True):
            total += weight / sum(weights) * token / np.linalg.norm(token)
        return total

    return cos(mean(asked, held), mean(held, asked))


@settings(max_examples=25)
@given(counts=st.tuples(st.integers(1, 4), st.integers(1, 5)), seed=st.integers(0, 99))
def test_the_formula(counts: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked, held = (rng.normal(size=(count, 6)) for count in counts)
    assert score(asked, held) == pytest.approx(naive(asked, held), abs=1e-9)
    assert score(asked[::-1], held[::-1]) == pytest.approx(score(asked, held), abs=1e-9)
    assert score(held, asked) == pytest.approx(score(asked, held), abs=1e-9)
    assert score(asked, asked) == pytest.approx(1)
