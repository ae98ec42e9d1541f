"""Numbers in fewer bits, against torch's own types and by how much they err."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.contexts.precision import Coded, Precision, decode, encode

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 2), st.integers(1, 5)), elements=FINITE
)


@given(VECTORS)
def test_bfloat16_is_torchs(values: np.ndarray) -> None:
    ours = decode(encode(values, Precision.BFLOAT16))
    theirs = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    finite = np.isfinite(theirs)  # torch rounds the largest to infinity
    assert np.array_equal(ours[finite], theirs[finite])
    assert np.isfinite(ours).all()


@given(arrays.arrays(np.float32, 9, elements=st.floats(-448, 448, width=32)))
def test_float8_is_torchs(values: np.ndarray) -> None:
    """The largest number is there, so that the scale is 1."""
    values = np.append(values, np.float32(448))
    theirs = torch.from_numpy(values).to(torch.float8_e4m3fn)
    coded = encode(values, Precision.FLOAT8)
    assert coded.numbers.tolist() == theirs.view(torch.uint8).tolist()
    assert np.array_equal(decode(coded), theirs.float().numpy())


def test_float8_has_the_values_that_torch_has() -> None:
    codes = np.delete(np.arange(256, dtype=np.uint8), [0x7F, 0xFF])  # those are NaN
    theirs = torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(decode(Coded(Precision.FLOAT8, codes)), theirs)


def test_halfway_between_two_it_is_torchs_choice() -> None:
    values = decode(Coded(Precision.FLOAT8, np.arange(0x7F, dtype=np.uint8)))
    halfway = np.append((values[1:] + values[:-1]) / 2, values[-1])
    theirs = torch.from_numpy(halfway).to(torch.float8_e4m3fn).view(torch.uint8)
    assert encode(halfway, Precision.FLOAT8).numbers.tolist() == theirs.tolist()


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FLOAT8])
def test_the_largest_number_stays_one(precision: Precision) -> None:
    values = np.array([[np.finfo(np.float32).max, 1.0]], dtype=np.float32)
    assert np.isfinite(decode(encode(values, precision))).all()


@given(VECTORS)
def test_int8_errs_by_half_a_step_of_each_vector(values: np.ndarray) -> None:
    step = np.abs(values).max(axis=-1, initial=0) / 127
    error = np.abs(decode(encode(values, Precision.INT8)) - values).max(axis=-1, initial=0)
    assert (error <= step * 0.5001 + np.finfo(np.float32).tiny * 127).all()


@pytest.mark.parametrize(
    ("precision", "error"),
    [("float32", 0.0), ("bfloat16", 0.0017), ("int8", 0.006), ("float8_e4m3", 0.026)],
)
def test_the_error_on_normal_vectors(
    precision: str, error: float, rng: np.random.Generator
) -> None:
    values = rng.normal(size=(2000, 64)).astype(np.float32)
    left = decode(encode(values, Precision(precision))) - values
    assert np.sqrt((left**2).mean()) == pytest.approx(error, rel=0.08)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not all numbers are finite"):
        encode(np.array([1, value], dtype=np.float32), Precision.INT8)
