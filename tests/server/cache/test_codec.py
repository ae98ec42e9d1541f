"""What is kept must come back the same, and nothing else must come back at all."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tamis.models.types import Representation, Sparse
from tamis.server.cache import codec

DTYPES = st.sampled_from([np.float32, np.float16])


def dense() -> st.SearchStrategy[np.ndarray]:
    shapes = arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9)
    return DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, shapes))


@st.composite
def sparse(draw: st.DrawFn) -> Sparse:
    dtype = draw(st.sampled_from([np.int32, np.int64]))
    indices = sorted(draw(st.sets(st.integers(0, 2**31 - 1), max_size=9)))
    values = draw(arrays.arrays(draw(DTYPES), len(indices)))
    return Sparse(np.array(indices, dtype), values)


VALUES = st.dictionaries(st.text(max_size=20), st.one_of(dense(), sparse()), max_size=4)


def parts(representation: Representation) -> list[np.ndarray]:
    if isinstance(representation, Sparse):
        return [representation.indices, representation.values]
    return [representation]


def assert_same(left: Representation, right: Representation) -> None:
    assert type(left) is type(right)
    for ours, theirs in zip(parts(left), parts(right), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()  # bit for bit: NaN and -0.0 too


VALUE: dict[str, Representation] = {
    "dense": np.arange(384, dtype=np.float32),
    "multi": np.ones((32, 128), np.float16),
    "terms": Sparse(np.array([3, 7], np.int64), np.array([0.5, 2.0], np.float32)),
}


@given(VALUES)
def test_a_value_comes_back_the_same(value: dict[str, Representation]) -> None:
    found = codec.decode(codec.encode(value))
    assert found is not None
    assert list(found) == list(value)
    for name in value:
        assert_same(found[name], value[name])


def test_reading_copies_nothing() -> None:
    data = codec.encode(VALUE)
    found = codec.decode(data)
    assert found is not None
    whole = np.frombuffer(data, np.uint8)
    for representation in found.values():
        for part in parts(representation):
            assert np.shares_memory(part, whole)
            assert not part.flags.writeable
            assert part.flags.aligned


def test_what_is_shared_cannot_be_changed() -> None:
    found = codec.decode(codec.encode(VALUE))
    assert found is not None
    dense = found["dense"]
    assert isinstance(dense, np.ndarray)
    with pytest.raises(ValueError, match="read-only"):
        dense[0] = 1
    with pytest.raises(TypeError):
        found["dense"] = dense  # type: ignore[index]


def test_an_array_that_is_a_view_or_big_endian_is_kept_by_its_numbers() -> None:
    numbers = np.arange(12, dtype=">f4").reshape(3, 4).T
    found = codec.decode(codec.encode({"a": numbers}))
    assert found is not None
    np.testing.assert_array_equal(found["a"], numbers)


@pytest.mark.parametrize("where", range(len(codec.encode({"a": np.ones(3, np.float32)}))))
def test_one_flipped_bit_anywhere_is_a_miss(where: int) -> None:
    data = bytearray(codec.encode({"a": np.ones(3, np.float32)}))
    data[where] ^= 0x10
    assert codec.decode(bytes(data)) is None


def test_a_value_cut_short_anywhere_is_a_miss() -> None:
    data = codec.encode(VALUE)
    assert all(codec.decode(data[:end]) is None for end in range(len(data)))


def test_bytes_after_the_end_are_a_miss() -> None:
    longer = codec.encode(VALUE) + b"\0"
    assert codec.decode(longer) is None
    crc = zlib.crc32(longer[12:]).to_bytes(4, "little")
    assert codec.decode(longer[:8] + crc + longer[12:]) is None


@given(st.binary(max_size=200))
def test_foreign_bytes_are_a_miss(data: bytes) -> None:
    assert codec.decode(data) is None


@given(st.binary(max_size=200))
def test_a_false_description_under_a_true_checksum_does_not_raise(payload: bytes) -> None:
    """What a hostile writer could put there: it may decode, but only to what its bytes hold."""
    magic = codec.encode({})[:8]
    codec.decode(magic + zlib.crc32(payload).to_bytes(4, "little") + payload)


@given(st.data())
def test_a_damaged_description_under_a_true_checksum_does_not_raise(data: st.DataObject) -> None:
    whole = bytearray(codec.encode(VALUE))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(12, 90))] = data.draw(st.integers(0, 255))
    whole[8:12] = zlib.crc32(whole[12:]).to_bytes(4, "little")
    codec.decode(bytes(whole))


def test_another_version_is_a_miss() -> None:
    data = codec.encode(VALUE)
    assert codec.decode(data[:6] + (codec.VERSION + 1).to_bytes(2, "little") + data[8:]) is None


@pytest.mark.parametrize(
    "bad",
    [
        np.ones(3, np.complex64),
        np.ones((1, 1, 1), np.float32),
        np.float32(1),
        np.array(["x"]),
        np.array([None]),
        np.arange(3),
        np.ones(3, np.longdouble),
    ],
    ids=["complex", "three axes", "no axis", "text", "object", "whole numbers", "long double"],
)
def test_what_is_no_representation_is_refused_by_name(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="dense: cannot be kept"):
        codec.encode({"dense": bad})


def test_the_size_is_that_of_arrays_and_names() -> None:
    assert codec.nbytes(VALUE) == 384 * 4 + 32 * 128 * 2 + 2 * 8 + 2 * 4 + len("densemultiterms")
