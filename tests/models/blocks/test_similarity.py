"""Similarities, against their definitions pair by pair."""

import math

import numpy as np
import pytest
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file

from tamis.models.blocks.similarity import cosine, cosine_within, max_sim, unit

NUMBERS = st.floats(-100, 100, width=32)


def naive_max_sim(query: np.ndarray, document: np.ndarray) -> float:
    """Khattab and Zaharia's sum of maxima, in float64."""
    total = 0.0
    for q in query.tolist():
        total += max(math.fsum(a * b for a, b in zip(q, d, strict=True)) for d in document.tolist())
    return total


@given(arrays.arrays(np.float32, (4, 3), elements=NUMBERS))
def test_a_cosine_is_the_angle_between_two_vectors(vectors: np.ndarray) -> None:
    expected = np.zeros((4, 4))
    for i, left in enumerate(vectors.astype(float)):
        for j, right in enumerate(vectors.astype(float)):
            norms = math.hypot(*left) * math.hypot(*right)
            expected[i, j] = left @ right / norms if norms > 1e-30 else 0
    small = (np.abs(vectors).max(axis=1) < 1e-10) & vectors.any(axis=1)  # below float32's squares
    for made in (cosine(vectors, vectors), cosine_within(vectors)):
        assert np.abs(made - expected)[~small][:, ~small].max(initial=0) < 1e-5


def test_a_zero_vector_stays_zero() -> None:
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert unit(vectors).tolist() == [[0.6, 0.8], [0, 0]]
    assert unit(vectors[0]).tolist() == [0.6, 0.8]
    assert cosine_within(vectors)[1].tolist() == [0, 0]


def test_similarities_within_a_set_are_in_single_precision() -> None:
    assert cosine_within(np.eye(3)).dtype == np.float32
    assert cosine_within(np.eye(3, dtype=np.float16)).dtype == np.float32


@given(lengths=st.lists(st.integers(0, 5), max_size=8), seed=st.integers(0, 99))
def test_max_sim_takes_each_query_tokens_best_match(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(3, 4)).astype(np.float32)
    documents = [rng.normal(size=(length, 4)).astype(np.float32) for length in lengths]
    scores = max_sim(query, documents)
    assert len(scores) == len(documents)
    for score, document in zip(scores, documents, strict=True):
        expected = naive_max_sim(query, document) if len(document) else -math.inf
        assert score == pytest.approx(expected, abs=1e-5)


def test_all_matches_may_be_negative() -> None:
    """Nothing is padded, so no zero is ever the best match."""
    query, document = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0], [-0.5, 0.0]])
    assert max_sim(query, [document]).tolist() == [-0.5]


@pytest.mark.parametrize("case", golden_cases("colpali_maxsim"))
def test_max_sim_is_that_of_the_golden_data(case: object) -> None:
    given, expected = (
        load_file(f"{case}/inputs.safetensors"),
        load_file(f"{case}/outputs.safetensors"),
    )
    queries, documents = (
        np.split(given[f"{side}_vectors"], np.cumsum(given[f"{side}_lengths"])[:-1])
        for side in ("query", "doc")
    )
    scores = np.array([max_sim(query, documents) for query in queries])
    assert np.abs(scores - expected["masked_maxsim"]).max() <= 1e-5
