"""The soft maximum, beside the sum that it is and the bounds that it keeps."""

import numpy as np
import pytest
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tamis.models.blocks.soft_max import soft_max_product


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.01, 30), st.integers(0, 99))
def test_it_is_the_weighted_sum_and_prunes_safely(
    queries: int, documents: int, size: float, seed: int
) -> None:
    """At scale 1 no result is above the largest product, or further below it than log(queries)."""
    rng = np.random.default_rng(seed)
    asked, held = rng.normal(size=(queries, 4)) * size, rng.normal(size=(documents, 4))
    scores = soft_max_product(asked, held)
    for score, document in zip(scores, held, strict=True):
        products = np.array([float(query @ document) for query in asked])
        weights = np.exp(products - products.max())
        assert score == pytest.approx(float((weights / weights.sum()) @ products), abs=1e-9)
        assert products.max() - np.log(queries) - 1e-9 <= score <= products.max() + 1e-9


def test_large_products_do_not_overflow() -> None:
    assert soft_max_product(np.full((2, 1), 1e4), np.ones((1, 1))) == pytest.approx([1e4])


@pytest.mark.parametrize("case", golden_cases("poly_encoder"))
@pytest.mark.parametrize(("suffix", "tolerance"), [("", 1e-5), ("_f64", 1e-12)])
def test_golden_scores(case, suffix: str, tolerance: float) -> None:  # type: ignore[no-untyped-def]
    told = load_file(case / "outputs.safetensors")
    held = load_file(case / "inputs.safetensors")["candidate_vectors"]
    kind = np.float64 if suffix else np.float32
    for variant in ("basic", "sqrt"):
        poly = told[f"codes.{variant}.poly_vectors{suffix}"]
        scale = poly.shape[2] ** -0.5 if variant == "sqrt" else 1.0
        made = np.stack([soft_max_product(own, held.astype(kind), scale=scale) for own in poly])
        assert made.dtype == kind
        assert np.abs(made - told[f"codes.{variant}.scores{suffix}"]).max() <= tolerance
    lower, upper = told["bound.lower_f64"], told["bound.upper_f64"]
    scores = told["codes.basic.scores_f64"]
    assert ((lower <= scores) & (scores <= upper)).all()
