import numpy as np
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis.extra import numpy as arrays
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.ingest import plain_metadata
from tamis.server.messages import DTYPES, array, representations, tensor, where_clause
from tamis.v1 import document_pb2, representation_pb2


@given(arrays.arrays(np.dtype("<f4"), arrays.array_shapes(max_dims=4)))
def test_a_tensor_comes_back_as_it_went(values: np.ndarray) -> None:
    np.testing.assert_array_equal(array(tensor(values), where="t"), values)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_type_of_number_comes_back_as_it_went(dtype: np.dtype[np.generic]) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    np.testing.assert_array_equal(array(tensor(values), where="t"), values)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (representation_pb2.Tensor(shape=[2], data=b"\0" * 8), r"t\.dtype: DATA_TYPE_UNSPECIFIED"),
        (
            representation_pb2.Tensor(
                dtype=representation_pb2.DATA_TYPE_FLOAT32, shape=[3], data=b"1234"
            ),
            r"t\.data: 4 bytes; \[3\] takes 12",
        ),
        (
            representation_pb2.Tensor(dtype=representation_pb2.DATA_TYPE_FLOAT32, shape=[-1]),
            r"t\.shape: \[-1\]; at most 4 axes, none below 0",
        ),
        (
            representation_pb2.Tensor(
                dtype=representation_pb2.DATA_TYPE_FLOAT32, shape=[1 << 62, 1 << 62]
            ),
            r"t\.data: 0 bytes",
        ),
    ],
)
def test_a_tensor_that_lies_is_refused(message: representation_pb2.Tensor, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        array(message, where="t")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    message = representation_pb2.Representation(
        name="minilm.dense", tensor=tensor(np.array([1, value], np.float32))
    )
    with pytest.raises(InputError, match=r"representations\['minilm\.dense'\]: .* not finite"):
        representations([message])


def test_sparse_weights_are_sorted_and_need_distinct_indices() -> None:
    message = representation_pb2.Representation(name="b.t")
    message.sparse.CopyFrom(representation_pb2.SparseVector(indices=[7, 3], values=[0.5, 1.5]))
    (sparse,) = representations([message]).values()
    assert sparse.indices.tolist() == [3, 7]  # type: ignore[union-attr]
    message.sparse.indices[0] = 3
    with pytest.raises(InputError, match="distinct indices"):
        representations([message])


def test_an_empty_filter_lets_everything_through() -> None:
    assert where_clause(document_pb2.Filter()) is None


def test_a_filter_says_the_same_in_the_stores_words() -> None:
    Condition = document_pb2.Condition  # noqa: N806 - a class
    message = document_pb2.Filter(
        must=[
            Condition(field="folder", equals_text="animals"),
            Condition(field="year", range=document_pb2.Range(gte=1990, lt=2000)),
        ],
        must_not=[Condition(field="draft", equals_bool=True)],
        should=[Condition(field="tag", any_of=document_pb2.TextSet(values=["a", "b"]))],
    )
    assert where_clause(message) == models.Filter(
        must=[
            models.FieldCondition(key="metadata.folder", match=models.MatchValue(value="animals")),
            models.FieldCondition(key="metadata.year", range=models.Range(gte=1990, lt=2000)),
        ],
        must_not=[models.FieldCondition(key="metadata.draft", match=models.MatchValue(value=True))],
        should=[models.FieldCondition(key="metadata.tag", match=models.MatchAny(any=["a", "b"]))],
    )


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (document_pb2.Condition(equals_text="x"), r"filter\.must\[0\]\.field: must be set"),
        (document_pb2.Condition(field="x"), r"filter\.must\[0\]: has no test"),
        (
            document_pb2.Condition(field="x", range=document_pb2.Range()),
            r"filter\.must\[0\]\.range: needs at least one bound",
        ),
        (
            document_pb2.Condition(field="x", any_of=document_pb2.TextSet()),
            r"filter\.must\[0\]\.any_of: 0 values; from 1 to 10000",
        ),
    ],
)
def test_a_condition_that_says_nothing_is_refused(
    condition: document_pb2.Condition, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        where_clause(document_pb2.Filter(must=[condition]))


def test_a_filter_of_too_many_conditions_is_refused() -> None:
    condition = document_pb2.Condition(field="x", exists=True)
    most = document_pb2.Filter(must=[condition] * 600, must_not=[condition] * 400)
    assert where_clause(most) is not None
    most.should.append(condition)
    with pytest.raises(InputError, match="filter: 1001 conditions; at most 1000"):
        where_clause(most)


def test_whole_numbers_in_metadata_become_integers() -> None:
    struct = struct_pb2.Struct()
    struct.update({"year": 1990, "ratio": 0.5, "tags": [1, "a"], "author": {"age": 7}})
    values = plain_metadata(struct, 1_000)
    assert values == {"year": 1990, "ratio": 0.5, "tags": [1, "a"], "author": {"age": 7}}
    assert isinstance(values["year"], int)


def test_metadata_that_is_too_large_or_not_json_is_refused() -> None:
    struct = struct_pb2.Struct()
    struct.update({"x": "y" * 100})
    with pytest.raises(InputError, match=r"metadata: 109 bytes as JSON; at most 50"):
        plain_metadata(struct, 50)
    struct.update({"x": float("nan")})
    with pytest.raises(InputError, match="metadata: "):
        plain_metadata(struct, 1_000)
