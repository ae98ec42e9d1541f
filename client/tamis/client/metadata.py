"""Between a document's metadata, which is JSON, and protobuf's Struct."""

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

# Beyond these a double, which is all that a Struct holds, skips whole numbers.
EXACT_INTEGER = 1 << 53


def struct(metadata: Mapping[str, Any], document_id: str) -> struct_pb2.Struct:
    """The metadata as it is sent.

    Raises:
        ValueError: JSON cannot hold a value, or not exactly; the message names its place.
    """
    message = struct_pb2.Struct()
    for name, value in metadata.items():
        _set(message.fields[name], value, f"{document_id}: metadata.{name}")
    return message


def plain(message: struct_pb2.Struct) -> dict[str, Any]:
    """The metadata that came back."""
    return {name: _plain(value) for name, value in message.fields.items()}


def _set(target: struct_pb2.Value, value: Any, path: str) -> None:
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() if abs(value) > EXACT_INTEGER:
            raise ValueError(f"{path}: {value} is beyond 2**53: give it as a text")
        case float() if not math.isfinite(value):
            raise ValueError(f"{path}: JSON has no {value}")
        case int() | float():
            target.number_value = value
        case str():
            target.string_value = value
        case Mapping():
            target.struct_value.SetInParent()
            for name, inner in value.items():
                _set(target.struct_value.fields[name], inner, f"{path}.{name}")
        case list() | tuple():
            target.list_value.SetInParent()
            for place, inner in enumerate(value):
                _set(target.list_value.values.add(), inner, f"{path}[{place}]")
        case _:
            raise ValueError(f"{path}: JSON has no {type(value).__name__}")


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            # JSON does not tell 1 from 1.0; callers mean 1990 by year = 1990.
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case _:
            return None
