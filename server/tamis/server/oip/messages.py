"""The protocol's messages, made at run time in a pool of their own.

Protobuf registers what is generated under the name of its file, once a process: a second module
with `inference.*` would make `import tritonclient.grpc` fail. A private pool disturbs nobody. The
names and numbers are Triton's; fields that this server neither reads nor writes are left out, and
protobuf skips them.
"""

import re
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE: Final = "inference"
SERVICE: Final = "inference.GRPCInferenceService"

_MODEL = "string name = 1; string version = 2"
_PARAMETERS = "map<InferParameter> parameters"
_REPOSITORY_MODEL = """
    string repository_name = 1; string model_name = 2;
    map<ModelRepositoryParameter> parameters = 3
"""
# A message's fields, as a .proto file has them. The keys of every map are strings. Fields after
# `oneof NAME:` are alternatives.
MESSAGES: Final = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": """
        string name = 1; repeated string versions = 2; string platform = 3;
        repeated ModelMetadataResponse.TensorMetadata inputs = 4;
        repeated ModelMetadataResponse.TensorMetadata outputs = 5
    """,
    "ModelMetadataResponse.TensorMetadata": """
        string name = 1; string datatype = 2; repeated int64 shape = 3
    """,
    "InferParameter": """
        oneof parameter_choice:
        bool bool_param = 1; int64 int64_param = 2; string string_param = 3;
        double double_param = 4; uint64 uint64_param = 5
    """,
    "InferTensorContents": """
        repeated bool bool_contents = 1; repeated int32 int_contents = 2;
        repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4;
        repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6;
        repeated double fp64_contents = 7; repeated bytes bytes_contents = 8
    """,
    "ModelInferRequest": f"""
        string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS} = 4;
        repeated ModelInferRequest.InferInputTensor inputs = 5;
        repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6;
        repeated bytes raw_input_contents = 7
    """,
    "ModelInferRequest.InferInputTensor": f"""
        string name = 1; string datatype = 2; repeated int64 shape = 3; {_PARAMETERS} = 4;
        InferTensorContents contents = 5
    """,
    "ModelInferRequest.InferRequestedOutputTensor": f"string name = 1; {_PARAMETERS} = 2",
    "ModelInferResponse": f"""
        string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS} = 4;
        repeated ModelInferResponse.InferOutputTensor outputs = 5;
        repeated bytes raw_output_contents = 6
    """,
    "ModelInferResponse.InferOutputTensor": """
        string name = 1; string datatype = 2; repeated int64 shape = 3
    """,
    "ModelStreamInferResponse": "string error_message = 1; ModelInferResponse infer_response = 2",
    "ModelConfigRequest": _MODEL,
    "ModelConfigResponse": "ModelConfig config = 1",
    "ModelConfig": """
        string name = 1; string platform = 2; int32 max_batch_size = 4;
        repeated ModelInput input = 5; repeated ModelOutput output = 6;
        ModelDynamicBatching dynamic_batching = 11;
        ModelTransactionPolicy model_transaction_policy = 19
    """,
    "ModelInput": """
        string name = 1; DataType data_type = 2; repeated int64 dims = 4; bool optional = 8
    """,
    "ModelOutput": "string name = 1; DataType data_type = 2; repeated int64 dims = 3",
    "ModelDynamicBatching": "repeated int32 preferred_batch_size = 1",
    "ModelTransactionPolicy": "bool decoupled = 1",
    "ModelStatisticsRequest": _MODEL,
    "ModelStatisticsResponse": "repeated ModelStatistics model_stats = 1",
    "ModelStatistics": """
        string name = 1; string version = 2; uint64 last_inference = 3;
        uint64 inference_count = 4; uint64 execution_count = 5; InferStatistics inference_stats = 6;
        repeated InferBatchStatistics batch_stats = 7
    """,
    "InferStatistics": """
        StatisticDuration success = 1; StatisticDuration fail = 2; StatisticDuration queue = 3;
        StatisticDuration compute_input = 4; StatisticDuration compute_infer = 5;
        StatisticDuration compute_output = 6
    """,
    "InferBatchStatistics": """
        uint64 batch_size = 1; StatisticDuration compute_input = 2;
        StatisticDuration compute_infer = 3; StatisticDuration compute_output = 4
    """,
    "StatisticDuration": "uint64 count = 1; uint64 ns = 2",
    "RepositoryIndexRequest": "string repository_name = 1; bool ready = 2",
    "RepositoryIndexResponse": "repeated RepositoryIndexResponse.ModelIndex models = 1",
    "RepositoryIndexResponse.ModelIndex": f"{_MODEL}; string state = 3; string reason = 4",
    "ModelRepositoryParameter": """
        oneof parameter_choice:
        bool bool_param = 1; int64 int64_param = 2; string string_param = 3; bytes bytes_param = 4
    """,
    "RepositoryModelLoadRequest": _REPOSITORY_MODEL,
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": _REPOSITORY_MODEL,
    "RepositoryModelUnloadResponse": "",
}
# TYPE_INVALID = 0 and so on: the names of tensors' datatypes, but that STRING is BYTES there.
DATA_TYPES: Final = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "STRING", "BF16"),
)

_FIELD = re.compile(r"(?:(repeated) )?(?:map<(\w+)>|([\w.]+)) (\w+) = (\d+)")
_KIND = descriptor_pb2.FieldDescriptorProto


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """The protocol as protobuf describes a .proto file."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tamis/oip.proto", package=PACKAGE, syntax="proto3"
    )
    types = file.enum_type.add(name="DataType")
    for number, name in enumerate(DATA_TYPES):
        types.value.add(name=f"TYPE_{name}", number=number)
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for full_name, fields in MESSAGES.items():
        outer, _, name = full_name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = name
        made[full_name] = message
        _add_fields(message, full_name, fields)
    return file


def _add_fields(message: descriptor_pb2.DescriptorProto, full_name: str, fields: str) -> None:
    if choice := re.match(r"\s*oneof (\w+):", fields):
        message.oneof_decl.add(name=choice[1])
    for repeated, of_map, kind, name, number in _FIELD.findall(fields):
        field = message.field.add(name=name, number=int(number))
        field.label = _KIND.LABEL_REPEATED if repeated or of_map else _KIND.LABEL_OPTIONAL
        if of_map:
            entry = f"{name.title()}Entry"
            _add_entry(message.nested_type.add(name=entry), of_map)
            _set_type(field, f"{full_name}.{entry}")
        else:
            _set_type(field, kind)
        if choice:
            field.oneof_index = 0


def _add_entry(entry: descriptor_pb2.DescriptorProto, value: str) -> None:
    entry.options.map_entry = True
    optional = _KIND.LABEL_OPTIONAL
    entry.field.add(name="key", number=1, label=optional, type=_KIND.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=optional), value)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in MESSAGES or kind.endswith("Entry"):
        field.type, field.type_name = _KIND.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    elif kind == "DataType":
        field.type, field.type_name = _KIND.TYPE_ENUM, f".{PACKAGE}.{kind}"
    else:
        field.type = _KIND.Type.Value(f"TYPE_{kind.upper()}")


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(file_descriptor().SerializeToString())


def message(name: str) -> Any:
    """The class of the message of that name; it exists at run time only, so it has no type."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ModelConfig: Final = message("ModelConfig")
ModelConfigResponse: Final = message("ModelConfigResponse")
ModelInferRequest: Final = message("ModelInferRequest")
ModelInferResponse: Final = message("ModelInferResponse")
ModelMetadataResponse: Final = message("ModelMetadataResponse")
ModelReadyResponse: Final = message("ModelReadyResponse")
ModelStatistics: Final = message("ModelStatistics")
ModelStatisticsResponse: Final = message("ModelStatisticsResponse")
ModelStreamInferResponse: Final = message("ModelStreamInferResponse")
RepositoryIndexResponse: Final = message("RepositoryIndexResponse")
RepositoryModelLoadResponse: Final = message("RepositoryModelLoadResponse")
RepositoryModelUnloadResponse: Final = message("RepositoryModelUnloadResponse")
ServerLiveResponse: Final = message("ServerLiveResponse")
ServerMetadataResponse: Final = message("ServerMetadataResponse")
ServerReadyResponse: Final = message("ServerReadyResponse")
StatisticDuration: Final = message("StatisticDuration")
