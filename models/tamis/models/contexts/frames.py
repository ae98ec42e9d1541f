"""Tensors and a description as bytes: one copy to write, none to read, nothing that runs.

The bytes, little-endian::

    "tamisctx" version:u32 header:u32 total:u64     what it is, and how long
    header                                          JSON, padded with spaces
    tensor, padding, tensor, padding ...            in the header's order, each at a multiple of 8
    blake2b, 16 bytes                               of all before it

The header is `{"tensors": [[name, type, shape], ...], ...}`, the rest of it being the description.
What is cut short, changed or of another program is refused. The digest is no signature: whoever
can write into the store can write a context.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tamis.models.errors import InputError

VERSION = 1
PIECE_BYTES = 1 << 20

_MAGIC = b"tamisctx"
_START = struct.Struct("<8sIIQ")
_DIGEST_BYTES = 16
_ALIGNMENT = 8
# What numpy has no type for is held as its bits.
_HELD_AS = {
    "float32": "<f4",
    "bfloat16": "<u2",
    "int8": "i1",
    "float8_e4m3": "u1",
    "int32": "<i4",
    "utf8": "u1",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array, and what its elements are: ``bfloat16`` is held as uint16."""

    dtype: str
    data: np.ndarray


def write(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of it."""
    listed = [[name, tensor.dtype, tensor.data.shape] for name, tensor in tensors.items()]
    header = json.dumps({**description, "tensors": listed}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    body = [header]
    for tensor in tensors.values():
        data = np.ascontiguousarray(tensor.data, dtype=_HELD_AS[tensor.dtype]).tobytes()
        body += [data, bytes(-len(data) % _ALIGNMENT)]
    total = _START.size + sum(map(len, body)) + _DIGEST_BYTES
    whole = b"".join([_START.pack(_MAGIC, VERSION, len(header), total), *body])
    return whole + _digest(whole)


def read(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors, which are read-only views of `data`.

    Raises:
        InputError: It is cut short, damaged, of another version or no context at all.
    """
    header_bytes = _checked(data)
    end = _START.size + header_bytes
    try:
        description = json.loads(data[_START.size : end])
        return description, _tensors(data, end, description.pop("tensors"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"a context's header describes no tensors: {error!r}") from error


def pieces(data: bytes) -> list[memoryview]:
    """The bytes in pieces of at most 1 MiB, for messages and stores; joined, they are `data`."""
    whole = memoryview(data)
    return [whole[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]


def _checked(data: bytes) -> int:
    """The header's length, once the bytes are known to be whole."""
    if len(data) < _START.size + _DIGEST_BYTES or data[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{len(data)} bytes that do not begin as a context does")
    _, version, header_bytes, total = _START.unpack_from(data)
    if version != VERSION:
        raise InputError(f"a context of version {version}; this reads version {VERSION}")
    if len(data) != total:
        raise InputError(f"a context of {total} bytes, of which there are {len(data)}")
    if _digest(memoryview(data)[:-_DIGEST_BYTES]) != data[-_DIGEST_BYTES:]:
        raise InputError("a context is damaged: its checksum is another")
    return int(header_bytes)


def _tensors(data: bytes, at: int, listed: Sequence[Any]) -> dict[str, Tensor]:
    found = {}
    for name, dtype, shape in listed:
        held = np.dtype(_HELD_AS[dtype])
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"{name} has the shape {shape}")
        count = prod(shape)
        if at + count * held.itemsize > len(data) - _DIGEST_BYTES:
            raise ValueError(f"{name} reaches beyond the end")
        found[str(name)] = Tensor(dtype, np.frombuffer(data, held, count, at).reshape(shape))
        at += count * held.itemsize
        at += -at % _ALIGNMENT
    if at != len(data) - _DIGEST_BYTES or len(found) != len(listed):
        raise ValueError("the tensors are not all that there is")
    return found


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
