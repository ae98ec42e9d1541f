"""Representations as bytes and back: self-describing, checksummed, read without a copy.

A value is little-endian::

    "tamis" 0x00 version:u16                             what it is
    crc32:u32 entries:u16                                of all that follows the checksum
    length:u16 name arrays:u8 (dtype:u8 axes:u8 sides:u32...)...     once for each entry
    padding, array, padding, array ...                   each starts at a multiple of 16

An entry of one array is a vector or one vector a token; one of two is `Sparse`. There is no
pickle, so that what somebody else wrote into Redis can at worst be wrong numbers.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tamis.models.types import Representation, Sparse

VERSION = 1

_MAGIC = b"tamis\x00" + VERSION.to_bytes(2, "little")
_CRC_END = len(_MAGIC) + 4
_ALIGNMENT = 16  # what SIMD code likes; CPython's bytes start at such a multiple themselves
# Places in this table are on the wire: append only.
_DTYPES = tuple(np.dtype(name) for name in ("<f4", "<f2", "<f8", "<i4", "<i8"))
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}


def encode(value: Mapping[str, Representation]) -> bytes:
    """The value as bytes, in native order of the mapping.

    Raises:
        ValueError: One is not made of arrays of a float or index type with one or two axes.
    """
    head = bytearray(struct.pack("<H", len(value)))
    arrays: list[np.ndarray] = []
    for name, representation in value.items():
        parts = _parts(representation)
        encoded = name.encode()
        head += struct.pack("<H", len(encoded)) + encoded + bytes([len(parts)])
        try:
            _representation(parts)
            codes = [_CODES[part.dtype.newbyteorder("<")] for part in parts]
        except (ValueError, KeyError) as error:
            raise ValueError(f"{name}: cannot be kept: {error}") from error
        for code, part in zip(codes, parts, strict=True):
            head += struct.pack(f"<BB{part.ndim}I", code, part.ndim, *part.shape)
            arrays.append(np.ascontiguousarray(part, dtype=_DTYPES[code]))
    body = [bytes(head)]
    at = _CRC_END + len(head)
    for array in arrays:
        gap = -at % _ALIGNMENT
        body += [bytes(gap), array.tobytes()]
        at += gap + array.nbytes
    payload = b"".join(body)
    return b"".join((_MAGIC, struct.pack("<I", zlib.crc32(payload)), payload))


def decode(data: bytes) -> Mapping[str, Representation] | None:
    """The value, its arrays read-only views of `data`; None for anything that is not whole.

    Bytes of another program, of another version, cut short or damaged are all None: a miss.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        return None
    try:
        (crc,) = struct.unpack_from("<I", data, len(_MAGIC))
        if zlib.crc32(memoryview(data)[_CRC_END:]) != crc:
            return None
        return _read(data)
    except (struct.error, ValueError, IndexError, OverflowError):  # a false description
        return None


def nbytes(value: Mapping[str, Representation]) -> int:
    """The bytes of its arrays and names."""
    arrays = sum(part.nbytes for each in value.values() for part in _parts(each))
    return arrays + sum(len(name) for name in value)


def _parts(representation: Representation) -> tuple[np.ndarray, ...]:
    if isinstance(representation, Sparse):
        return np.asarray(representation.indices), np.asarray(representation.values)
    return (np.asarray(representation),)


def _read(data: bytes) -> Mapping[str, Representation]:
    (entries,) = struct.unpack_from("<H", data, _CRC_END)
    at = _CRC_END + 2
    described: list[tuple[str, list[tuple[np.dtype, tuple[int, ...]]]]] = []
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        count, at = data[at], at + 1
        arrays = []
        for _ in range(count):
            code, axes = data[at], data[at + 1]
            arrays.append((_DTYPES[code], struct.unpack_from(f"<{axes}I", data, at + 2)))
            at += 2 + 4 * axes
        described.append((name, arrays))
    value: dict[str, Representation] = {}
    for name, arrays in described:
        parts = []
        for dtype, shape in arrays:
            at += -at % _ALIGNMENT
            size = 1
            for side in shape:
                size *= side
            # frombuffer refuses a count that the data does not hold, but takes -1 as "the rest".
            part = np.frombuffer(data, dtype, size, at) if size else np.empty(0, dtype)
            part.flags.writeable = False
            parts.append(part.reshape(shape))
            at += size * dtype.itemsize
        value[name] = _representation(parts)
    if at != len(data) or len(value) != entries:
        raise ValueError("more or fewer bytes than described")
    return MappingProxyType(value)


def _representation(parts: Sequence[np.ndarray]) -> Representation:
    """What the arrays make up.

    Raises:
        ValueError: They are not what a representation is made of.
    """
    if len(parts) == 1:
        (vectors,) = parts
        if vectors.dtype.kind == "f" and vectors.ndim in {1, 2}:
            return vectors
    if len(parts) == 2:
        indices, values = parts
        if (
            (indices.dtype.kind, values.dtype.kind) == ("i", "f")
            and indices.ndim == 1
            and indices.shape == values.shape
        ):
            return Sparse(indices, values)
    described = ", ".join(f"{part.dtype}{list(part.shape)}" for part in parts)
    raise ValueError(f"is no representation: {described}")
