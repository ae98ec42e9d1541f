"""Counts of words by what a model says of them: the rules by hand."""

import numpy as np
import pytest

from tamis.models.blocks.term_counts import MODES, deepct_counts, hdct_counts, word_weights
from tamis.models.blocks.words import dimension


def test_a_word_weighs_as_its_first_token_and_as_its_strongest_occurrence() -> None:
    text = "Drum sieve, drum!"
    spans = np.array([[0, 0], [0, 2], [2, 4], [5, 10], [10, 11], [12, 16], [16, 17], [0, 0]])
    weights = np.array([9.0, 0.25, 7.0, 0.5, 8.0, 0.75, 6.0, 9.0])
    assert word_weights(text, spans, weights) == {"drum": 0.75, "sieve": 0.5}


def test_words_behind_the_last_token_that_was_read_have_no_weight() -> None:
    assert word_weights("one two", np.array([[0, 0], [0, 3]]), np.array([1.0, 0.5])) == {"one": 0.5}


def test_deepct_rounds_and_drops_what_is_below_one() -> None:
    weights = {"a": 0.996, "b": 0.014, "c": 0.009, "d": -0.5, "e": 0.0}
    counts = deepct_counts(weights, 100)
    assert counts == {dimension("a"): 100.0, dimension("b"): 1.0}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("sum", {"a": 50 + 20 + 0, "b": 10}),
        ("avg", {"a": 70 / 3, "b": 10 / 3}),
        ("max", {"a": 50, "b": 10}),
        ("position_decay_sum", {"a": 50 + 20 / 2, "b": 10 / 3}),
        ("position_decay_avg", {"a": 60 / (11 / 6), "b": 10 / 3 / (11 / 6)}),
    ],
)
def test_hdct_puts_the_roots_of_passages_together(mode: str, expected: dict[str, float]) -> None:
    passages = [{"a": 0.25, "c": -1.0}, {"a": 0.04}, {"b": 0.01, "d": 0.00001}]
    counts = hdct_counts(passages, 100, mode)
    assert counts == {dimension(word): float(int(count)) for word, count in expected.items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_document_without_passages_counts_nothing(mode: str) -> None:
    assert hdct_counts([], 100, mode) == {}
