"""Answers put together by hand are what protobuf would write."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.server.oip.messages import ModelInferResponse, ModelStreamInferResponse
from tamis.server.oip.wire import Response


@given(st.lists(st.binary(max_size=300), max_size=4), st.text(max_size=5))
def test_bytes_are_protobuf_s_own(raw: list[bytes], error: str) -> None:
    message = ModelInferResponse(model_name="m", id="7")
    message.outputs.add(name="x", datatype="BYTES", shape=[1])
    response = Response(message, raw)
    whole = ModelInferResponse(raw_output_contents=raw)
    whole.MergeFrom(message)
    assert response.packed() == whole.SerializeToString()
    outer = ModelStreamInferResponse(error_message=error, infer_response=whole)
    assert response.packed_for_stream(error) == outer.SerializeToString()


def test_a_large_tensor_is_sent_as_it_lies_in_memory() -> None:
    array = np.arange(1 << 20, dtype="<f4")
    packed = Response(ModelInferResponse(), [array.view(np.uint8).data]).packed()
    (found,) = ModelInferResponse.FromString(packed).raw_output_contents
    assert np.array_equal(np.frombuffer(found, "<f4"), array)
