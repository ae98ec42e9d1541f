"""Tensors: what a model takes and gives, and how they look on the wire."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tamis.models.errors import InputError
from tamis.server.errors import UnimplementedError
from tamis.server.oip.messages import ModelInferResponse
from tamis.server.oip.wire import Response

# BYTES are one `bytes` an element; everything else is an array.
Value = Sequence[bytes] | np.ndarray

ANY: Final = -1  # of an axis whose length the request decides
DTYPES: Final = {"INT32": "<i4", "INT64": "<i8", "FP32": "<f4"}
_CONTENTS: Final = {"BYTES": "bytes_contents", "INT32": "int_contents"}
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a model takes or gives.

    Attributes:
        name: Within the model.
        datatype: ``BYTES``, or one of `DTYPES`.
        shape: With the batch axis, where the model has one; `ANY` for a length that varies.
        optional: Whether a request may leave it out.
        most: Elements that a request may bring.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    most: int = 1


def read(request: Any, tensors: Sequence[Tensor]) -> dict[str, Value]:
    """A request's inputs, whose elements stand in a row whatever their shape.

    Raises:
        InputError: They are not the model's, or not what their shape and datatype say.
        UnimplementedError: One of them lies in shared memory.
    """
    known = {tensor.name: tensor for tensor in tensors}
    raw = _raw(request)
    found: dict[str, Value] = {}
    for place, given in enumerate(request.inputs):
        name = given.name
        if name not in known:
            raise InputError(f"inputs: {name!r} is not one of {', '.join(known)}")
        if name in found:
            raise InputError(f"inputs: {name!r} is there twice")
        if "shared_memory_region" in given.parameters:
            raise UnimplementedError(f"{name}: there is no shared memory here; send it in the call")
        count = _count(given, known[name])
        if raw is None:
            found[name] = _typed(given, count)
        else:
            found[name] = _elements(name, given.datatype, raw[place], count)
    for tensor in tensors:
        if tensor.name not in found and not tensor.optional:
            raise InputError(f"{tensor.name}: must be given")
    return found


def _raw(request: Any) -> Sequence[bytes] | None:
    """The inputs' raw contents, or None where they are typed."""
    raw, inputs = request.raw_input_contents, request.inputs
    if not raw:
        return None
    if len(raw) != len(inputs):
        raise InputError(f"raw_input_contents: {len(raw)}; the inputs are {len(inputs)}")
    for given in inputs:
        if given.HasField("contents"):
            raise InputError(f"{given.name}: has contents beside raw_input_contents")
    return raw


def _count(given: Any, tensor: Tensor) -> int:
    """How many elements an input has: its shape is [n] or [n, 1]."""
    if given.datatype != tensor.datatype:
        raise InputError(f"{tensor.name}: must be {tensor.datatype}, not {given.datatype!r}")
    shape = list(given.shape)
    if len(shape) not in {1, 2} or shape[1:] not in ([], [1]):
        raise InputError(f"{tensor.name}: has shape {shape[:8]}; needs [n] or [n, 1]")
    if not 1 <= shape[0] <= tensor.most:
        bounds = f"from 1 to {tensor.most}" if tensor.most > 1 else "needs 1"
        raise InputError(f"{tensor.name}: {shape[0]} elements; {bounds}")
    return int(shape[0])


def _typed(given: Any, count: int) -> Value:
    right = _CONTENTS[given.datatype]
    for field, _ in given.contents.ListFields():
        if field.name != right:
            raise InputError(f"{given.name}: {given.datatype} belongs in {right}, not {field.name}")
    values = getattr(given.contents, right)
    if len(values) != count:
        raise InputError(f"{given.name}: {len(values)} elements in contents; its shape has {count}")
    if given.datatype == "BYTES":
        return list(values)
    return np.array(values, dtype=DTYPES[given.datatype])


def _elements(name: str, datatype: str, data: bytes, count: int) -> Value:
    if datatype == "BYTES":
        return _byte_elements(name, data, count)
    dtype = np.dtype(DTYPES[datatype])
    if len(data) != count * dtype.itemsize:
        raise InputError(f"{name}: {len(data)} bytes; its shape has {count * dtype.itemsize}")
    return np.frombuffer(data, dtype)


def _byte_elements(name: str, data: bytes, count: int) -> list[bytes]:
    """Each element is its length, four bytes little-endian, and then itself."""
    elements: list[bytes] = []
    start = 0
    for place in range(count):
        if len(data) - start < _LENGTH.size:
            raise InputError(f"{name}[{place}]: the raw contents end before it; {count} are needed")
        (size,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if len(data) - start < size:
            raise InputError(
                f"{name}[{place}]: {size} bytes long, but {len(data) - start} are left"
            )
        elements.append(data[start : start + size])
        start += size
    if start != len(data):
        raise InputError(f"{name}: {len(data) - start} bytes follow its {count} elements")
    return elements


def wanted(request: Any, tensors: Sequence[Tensor]) -> frozenset[str]:
    """The outputs that a request asks for: those that it names, else all.

    Raises:
        InputError: The model has no such output.
        UnimplementedError: One is wanted in shared memory, or as a classification.
    """
    names = {tensor.name for tensor in tensors}
    for asked in request.outputs:
        if asked.name not in names:
            raise InputError(f"outputs: {asked.name!r} is not one of {', '.join(sorted(names))}")
        for parameter in ("shared_memory_region", "classification"):
            if parameter in asked.parameters:
                raise UnimplementedError(f"{asked.name}: {parameter} is not to be had here")
    return frozenset(asked.name for asked in request.outputs) or frozenset(names)


def response(
    request: Any, version: str, tensors: Sequence[Tensor], values: Mapping[str, Value]
) -> Response:
    """The answer to a request: `values` as raw contents, in the order of the model's tensors."""
    made = ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
    raw: list[bytes | memoryview] = []
    for tensor in tensors:
        if (value := values.get(tensor.name)) is None:
            continue
        shape = value.shape if isinstance(value, np.ndarray) else (len(value),)
        made.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        raw.append(_packed(tensor, value))
    return Response(made, raw)


def _packed(tensor: Tensor, value: Value) -> bytes | memoryview:
    if isinstance(value, np.ndarray):
        row = np.ascontiguousarray(value, DTYPES[tensor.datatype]).reshape(-1)
        return row.view(np.uint8).data
    return b"".join(part for item in value for part in (_LENGTH.pack(len(item)), item))


def padded(rows: Sequence[np.ndarray], tail: tuple[int, ...], dtype: str) -> np.ndarray:
    """Rows of unlike lengths as one array; zeros follow the shorter ones."""
    longest = max(map(len, rows), default=0)
    array = np.zeros((len(rows), longest, *tail), dtype=DTYPES[dtype])
    for place, row in enumerate(rows):
        array[place, : len(row)] = row
    return array


def padded_bytes(lengths: Sequence[int], tail: tuple[int, ...], dtype: str) -> int:
    """How large `padded` would be."""
    longest = max(lengths, default=0)
    return len(lengths) * longest * math.prod(tail) * np.dtype(DTYPES[dtype]).itemsize


def text(name: str, place: int, data: bytes) -> str:
    """An element as text.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}[{place}]: is not UTF-8: {error.reason}") from error
