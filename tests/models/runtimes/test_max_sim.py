"""MaxSim in whole numbers: every kernel says the same, and a wrong one is not chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.blocks.similarity import max_sim, unit
from tamis.models.runtimes.max_sim import (
    GRAPH,
    ZERO,
    Documents,
    Kernel,
    Quantized,
    fastest,
    numpy_kernel,
    onnx_kernel,
)

ONNX, NUMPY = onnx_kernel(), numpy_kernel()


@settings(deadline=None, max_examples=25)
@given(st.tuples(*(st.integers(1, high) for high in (9, 33, 40, 130))), st.integers(0, 2**32 - 1))
def test_both_kernels_give_the_sum_of_the_best_products(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    count, tokens, query_tokens, dim = shape
    rng = np.random.default_rng(seed)
    documents = rng.integers(0, 256, (count, tokens, dim), dtype=np.uint8)
    query = Quantized(
        rng.integers(-127, 128, (query_tokens, dim), dtype=np.int8),
        rng.uniform(0.001, 1, query_tokens).astype(np.float32),
    )
    products = (documents.astype(int) - ZERO) @ query.vectors.astype(int).T
    expected = (products.max(axis=1) * query.scales.astype(np.float64)).sum(axis=1)
    for kernel in (ONNX, NUMPY):
        assert np.allclose(kernel.score(documents, query), expected, rtol=1e-5, atol=1e-2)


def test_whole_numbers_are_close_to_what_they_stand_for(rng: np.random.Generator) -> None:
    query = unit(rng.normal(size=(32, 128))).astype(np.float32)
    documents = unit(rng.normal(size=(20, 64, 128))).astype(np.float32)
    scales = np.abs(documents).max(axis=(1, 2)) / 127
    numbers = np.rint(documents / scales[:, None, None]).astype(np.int16) + ZERO
    scores = ONNX.score(numbers.astype(np.uint8), Quantized.of(query)) * scales
    exact = max_sim(query, list(documents))
    assert np.abs(scores - exact).max() < 0.05
    assert np.corrcoef(scores, exact)[0, 1] > 0.999


def test_a_vector_of_zeros_stays_one() -> None:
    quantized = Quantized.of(np.array([[0.0, 0.0], [3.0, -1.5]], dtype=np.float32))
    assert quantized.vectors.tolist() == [[0, 0], [127, -64]]
    assert np.isfinite(quantized.scales).all()


def test_the_fastest_is_one_of_the_right_ones(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(documents: Documents, query: Quantized) -> np.ndarray:
        scores = NUMPY.score(documents, query)
        scores[0] += 1_000  # as where the largest products overflow
        return scores

    with caplog.at_level("INFO"):
        assert fastest((Kernel("wrong", wrong), NUMPY)).name == NUMPY.name
        assert fastest((ONNX, NUMPY), dim=64).name in (ONNX.name, NUMPY.name)
    assert "wrong is wrong on this machine" in caplog.text
    assert f"{ONNX.name} 0." in caplog.text


def test_the_graph_that_is_shipped_is_the_one_that_is_built() -> None:
    pytest.importorskip("onnx")
    from tamis.models.export.max_sim_graph import graph

    assert graph().SerializeToString(deterministic=True) == GRAPH.read_bytes()
