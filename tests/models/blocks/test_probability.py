"""From logits to scores."""

import numpy as np
import pytest

from tamis.models.blocks.probability import first_of_two, log_softmax, mean_of_spans


def test_the_first_of_two_is_a_softmax(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(50, 2)) * 10
    expected = np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1)
    assert first_of_two(logits) == pytest.approx(expected)
    assert np.exp(log_softmax(logits))[:, 0] == pytest.approx(expected)


def test_extremes_do_not_overflow() -> None:
    inf = np.inf
    found = first_of_two(np.array([[0, 5000], [5000, 0], [-inf, 0], [0, -inf], [-inf, -inf]]))
    assert found[:4].tolist() == [0, 1, 0, 1]
    assert np.isnan(found[4])


def test_an_empty_span_tells_nothing() -> None:
    spans = [np.array([-1.0, -3.0]), np.array([])]
    assert mean_of_spans(spans).tolist() == [-2, 0]
