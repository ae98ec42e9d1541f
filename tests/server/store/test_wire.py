"""Arrays and Qdrant's vector messages hold the same numbers, as protobuf itself reads them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from qdrant_client import grpc, models

from tamis.models.errors import InputError
from tamis.server.store import wire


def dense(vector: np.ndarray) -> grpc.DenseVector:
    message = grpc.DenseVector()
    wire.fill_dense(message, vector)
    return message


def multi_dense(matrix: np.ndarray) -> grpc.MultiDenseVector:
    message = grpc.MultiDenseVector()
    wire.fill_multi_dense(message, matrix)
    return message


def vector(value: Any) -> grpc.Vector:
    message = grpc.Vector()
    wire.fill(message, value)
    return message


floats = st.floats(width=32, allow_nan=True)
vectors = arrays(np.float32, array_shapes(min_dims=1, max_dims=1, max_side=300), elements=floats)
matrices = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=60), elements=floats)


@given(vectors)
def test_a_vector_is_what_protobuf_reads(vector: np.ndarray) -> None:
    message = dense(vector)
    np.testing.assert_array_equal(np.array(message.data, dtype=np.float32), vector)
    np.testing.assert_array_equal(wire.array_of(message), vector)
    np.testing.assert_array_equal(wire.array_of(grpc.DenseVector(data=vector.tolist())), vector)


@given(matrices)
def test_several_vectors_are_what_protobuf_reads(matrix: np.ndarray) -> None:
    message = multi_dense(matrix)
    rows = [np.array(row.data, dtype=np.float32) for row in message.vectors]
    np.testing.assert_array_equal(np.stack(rows), matrix)
    np.testing.assert_array_equal(wire.arrays_of(message), matrix)


def test_strided_and_half_precision_arrays_are_taken(rng: np.random.Generator) -> None:
    half = rng.normal(size=(6, 10)).astype(np.float16)
    np.testing.assert_array_equal(wire.arrays_of(multi_dense(half[::2, ::-3])), half[::2, ::-3])
    np.testing.assert_array_equal(wire.array_of(dense(half[:, 3])), half[:, 3])


def test_no_vectors_are_an_empty_array() -> None:
    assert wire.arrays_of(grpc.MultiDenseVector()).shape == (0, 0)
    assert wire.array_of(grpc.DenseVector()).shape == (0,)


def test_vectors_of_different_lengths_are_refused() -> None:
    ragged = grpc.MultiDenseVector(
        vectors=[grpc.DenseVector(data=[1.0, 2.0]), grpc.DenseVector(data=[3.0])]
    )
    with pytest.raises(ValueError, match="one length"):
        wire.arrays_of(ragged)
    swapped = grpc.MultiDenseVector(vectors=[grpc.DenseVector(data=[1.0] * n) for n in (2, 1, 3)])
    with pytest.raises(ValueError, match="one length"):
        wire.arrays_of(swapped)


def test_lists_arrays_and_sparse_vectors_are_vectors() -> None:
    assert vector([1.0, 2.0]).dense.data == [1.0, 2.0]
    assert [row.data for row in vector([[1.0], [2.0]]).multi_dense.vectors] == [[1], [2]]
    sparse = models.SparseVector.model_construct(
        indices=np.array([3, 4_000_000_000]), values=np.array([0.5, 1.0])
    )
    message = vector(sparse).sparse
    assert (message.indices[:], message.values[:]) == ([3, 4_000_000_000], [0.5, 1.0])
    with pytest.raises(InputError, match="not 3"):
        vector(np.zeros((1, 1, 1)))
    wrongs: list[Any] = [[[1.0], [2.0, 3.0]], "text", [{}]]
    for wrong in wrongs:
        with pytest.raises(InputError, match="not a vector"):
            vector(wrong)


def test_a_vector_has_values_unless_it_is_sparse() -> None:
    for shape in ((0,), (0, 3)):
        with pytest.raises(InputError, match="has no values"):
            vector(np.empty(shape, dtype=np.float32))
    assert vector(models.SparseVector(indices=[], values=[])).WhichOneof("vector") == "sparse"


def test_the_form_before_qdrant_1_16_is_read_too() -> None:
    flat = grpc.VectorOutput(data=[1, 2, 3, 4], vectors_count=2)
    np.testing.assert_array_equal(wire.value_of(flat), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(wire.value_of(grpc.VectorOutput(data=[1, 2])), [1, 2])
    sparse = wire.value_of(grpc.VectorOutput(data=[0.5], indices=grpc.SparseIndices(data=[7])))
    assert sparse == models.SparseVector(indices=[7], values=[0.5])
