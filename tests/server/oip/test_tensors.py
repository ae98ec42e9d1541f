"""What is read from a request's tensors, and what is refused."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.errors import InputError
from tamis.server.errors import UnimplementedError
from tamis.server.oip.messages import ModelInferRequest, ModelInferResponse
from tamis.server.oip.tensors import ANY, Tensor, padded, padded_bytes, read, response, wanted

TEXT = Tensor("TEXT", "BYTES", (ANY, 1), most=4)
K = Tensor("K", "INT32", (1,), optional=True)
BOTH = (TEXT, K)


def raw(*items: bytes) -> bytes:
    """BYTES as the protocol has them."""
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def request(**tensors: tuple[str, list[int], bytes]) -> Any:
    made = ModelInferRequest(model_name="m")
    for name, (datatype, shape, data) in tensors.items():
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(data)
    return made


def typed(datatype: str = "BYTES", **contents: list[Any]) -> Any:
    made = ModelInferRequest(model_name="m")
    tensor = made.inputs.add(name="TEXT", datatype=datatype, shape=[2])
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return made


@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=str)
def test_raw_bytes_are_read_whatever_they_hold(shape: list[int]) -> None:
    items = (b"\0\xff", b"")
    assert read(request(TEXT=("BYTES", shape, raw(*items))), BOTH) == {"TEXT": list(items)}


def test_typed_contents_are_read_as_raw_ones() -> None:
    assert read(typed(bytes_contents=[b"a", b"b"]), BOTH) == {"TEXT": [b"a", b"b"]}


def test_numbers_are_read_little_endian() -> None:
    asked = request(TEXT=("BYTES", [1], raw(b"a")), K=("INT32", [1], (258).to_bytes(4, "little")))
    assert read(asked, BOTH)["K"] == np.array([258])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(), "TEXT: must be given"),
        (request(WORDS=("BYTES", [1], raw(b"a"))), "'WORDS' is not one of TEXT, K"),
        (request(TEXT=("FP32", [1], raw(b"a"))), "TEXT: must be BYTES, not 'FP32'"),
        (request(TEXT=("BYTES", [], raw(b"a"))), r"shape \[\]; needs \[n\] or \[n, 1\]"),
        (request(TEXT=("BYTES", [1, 2], raw(b"a"))), r"shape \[1, 2\]"),
        (request(TEXT=("BYTES", [1, 1, 1], raw(b"a"))), r"shape \[1, 1, 1\]"),
        (request(TEXT=("BYTES", [0], b"")), "TEXT: 0 elements; from 1 to 4"),
        (request(TEXT=("BYTES", [-1], b"")), "TEXT: -1 elements"),
        (request(TEXT=("BYTES", [5], raw(*5 * [b"a"]))), "TEXT: 5 elements; from 1 to 4"),
        (request(TEXT=("BYTES", [2], raw(b"a"))), r"TEXT\[1\]: the raw contents end before it"),
        (request(TEXT=("BYTES", [1], raw(b"a", b"b"))), "5 bytes follow its 1 elements"),
        (request(TEXT=("BYTES", [1], b"\xff\xff\xff\xffa")), r"TEXT\[0\]: 4294967295 bytes long"),
        (request(TEXT=("BYTES", [1], raw(b"a")), K=("INT32", [1], b"abc")), "K: 3 bytes"),
        (request(TEXT=("BYTES", [1], raw(b"a")), K=("INT32", [2], b"12345678")), "K: 2 elements"),
        (typed(bytes_contents=[b"a"]), "TEXT: 1 elements in contents; its shape has 2"),
        (typed(), "TEXT: 0 elements in contents"),
        (typed(int_contents=[1, 2]), "BYTES belongs in bytes_contents, not int_contents"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(asked: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(asked, BOTH)


def test_raw_contents_must_be_as_many_as_the_inputs() -> None:
    asked = request(TEXT=("BYTES", [1], raw(b"a")))
    asked.raw_input_contents.append(b"")
    with pytest.raises(InputError, match="raw_input_contents: 2; the inputs are 1"):
        read(asked, BOTH)


def test_a_tensor_is_either_raw_or_typed() -> None:
    asked = typed(bytes_contents=[b"a", b"b"])
    asked.raw_input_contents.append(raw(b"a", b"b"))
    with pytest.raises(InputError, match="has contents beside raw_input_contents"):
        read(asked, BOTH)


def test_a_tensor_is_given_once() -> None:
    asked = request(TEXT=("BYTES", [1], raw(b"a")))
    asked.MergeFrom(request(TEXT=("BYTES", [1], raw(b"a"))))
    with pytest.raises(InputError, match="'TEXT' is there twice"):
        read(asked, BOTH)


def test_shared_memory_is_unimplemented_both_ways() -> None:
    asked = request(TEXT=("BYTES", [1], b""))
    asked.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(UnimplementedError):
        read(asked, BOTH)
    asked = ModelInferRequest()
    asked.outputs.add(name="TEXT").parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(UnimplementedError):
        wanted(asked, BOTH)


def test_outputs_are_those_that_are_named_or_all() -> None:
    asked = ModelInferRequest()
    assert wanted(asked, BOTH) == {"TEXT", "K"}
    asked.outputs.add(name="K")
    assert wanted(asked, BOTH) == {"K"}
    asked.outputs.add(name="Q")
    with pytest.raises(InputError, match="'Q' is not one of K, TEXT"):
        wanted(asked, BOTH)


@given(
    data=st.binary(max_size=64),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    datatype=st.sampled_from(["BYTES", "INT32", "FP32", ""]),
    name=st.sampled_from(["TEXT", "K", "?"]),
)
def test_any_bytes_are_read_or_refused(
    data: bytes, shape: list[int], datatype: str, name: str
) -> None:
    """Whatever comes, it is the model's tensors or an InputError."""
    try:
        found = read(request(**{name: (datatype, shape, data)}), BOTH)
    except InputError:
        return
    assert found.keys() == {"TEXT"}
    assert raw(*map(bytes, found["TEXT"])) == data


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=4))
def test_what_is_written_can_be_read(items: list[bytes]) -> None:
    made = response(ModelInferRequest(model_name="m", id="7"), "1", BOTH, {"TEXT": items})
    answer = ModelInferResponse.FromString(made.packed())
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "7")
    asked = ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    for output in answer.outputs:
        asked.inputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    assert read(asked, BOTH) == {"TEXT": items}


def test_padding_is_zeros_and_as_large_as_foretold() -> None:
    rows = [np.ones((1, 2)), np.ones((3, 2)), np.ones((0, 2))]
    array = padded(rows, (2,), "FP32")
    assert array.shape == (3, 3, 2)
    assert array.sum() == 8
    assert array.nbytes == padded_bytes([1, 3, 0], (2,), "FP32")
