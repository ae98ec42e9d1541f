"""The protocol's messages are Triton's, and disturb nobody else's."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2

from tamis.server.oip import messages

OWN = "from tamis.server.oip import messages; messages.ModelInferRequest(model_name='m')"
TRITON = "import tritonclient.grpc; tritonclient.grpc.service_pb2.ModelInferRequest(model_name='m')"
_KIND = descriptor_pb2.FieldDescriptorProto


@pytest.mark.parametrize("order", [(OWN, TRITON), (TRITON, OWN)], ids=["own first", "triton first"])
def test_both_are_imported_into_one_process(order: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(order)],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def fields(
    messages_: Iterator[descriptor_pb2.DescriptorProto], outer: str = ""
) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """Each field as its message, its name, and what decides its bytes on the wire."""
    for message in messages_:
        name = f"{outer}{message.name}"
        for field in message.field:
            wire = (field.number, field.type, field.label == _KIND.LABEL_REPEATED, field.type_name)
            yield name, field.name, wire
        yield from fields(iter(message.nested_type), f"{name}.")


def test_names_and_numbers_are_triton_s() -> None:
    from tritonclient.grpc import model_config_pb2, service_pb2

    theirs: dict[tuple[str, str], tuple[object, ...]] = {}
    for module in (service_pb2, model_config_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        theirs |= {(name, field): wire for name, field, wire in fields(iter(file.message_type))}
        if types := [enum for enum in file.enum_type if enum.name == "DataType"]:
            assert [value.name for value in types[0].value] == [
                f"TYPE_{name}" for name in messages.DATA_TYPES
            ]
    ours = {
        (name, field): wire
        for name, field, wire in fields(iter(messages.file_descriptor().message_type))
    }
    assert len(ours) > 80
    assert ours == {key: theirs.get(key) for key in ours}


def test_a_request_is_read_as_triton_s_client_writes_it() -> None:
    from tritonclient.grpc import service_pb2

    theirs = service_pb2.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"x"])
    theirs.parameters["timeout"].int64_param = 5
    theirs.inputs.add(name="TEXT", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"y")
    ours = messages.ModelInferRequest.FromString(theirs.SerializeToString())
    assert ours.parameters["timeout"].int64_param == 5
    assert ours.inputs[0].contents.bytes_contents == [b"y"]
    again = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())
    assert again == theirs
