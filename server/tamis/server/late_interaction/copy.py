"""A field's vectors as bytes in a mapped file: derived from the index, and never the truth.

The folder of a copy holds `copy.json`; as .npy files, the documents' ids in rising order, the
versions that the index gave their points, where each document's vectors begin, and its scale; and
all vectors, one after another. A document that has changed since has another version, and is not
scored from here.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import numpy as np
from jaxtyping import Float, Int, UInt8

from tamis.models.runtimes.max_sim import REACH, ZERO, Kernel, Quantized

FORMAT = 1
AT_ONCE = 300  # documents that are scored together: more would not stay in the processor's cache
BYTES_AT_ONCE = 4 << 20  # of their vectors; long documents are fewer
_ARRAYS = ("ids", "versions", "starts", "scales")
_READ = 16 << 20
# Of the spread of a document's numbers, the step of 4 bits that loses least of normal ones.
_STEP = 0.335
_REACH_4 = 7


class CopyDamagedError(Exception):
    """The files are not what was written, or of a format that this version does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An open copy.

    Attributes:
        bits: Of each number.
        dim: The length of one vector.
        keys: The first eight bytes of the documents' ids, rising.
        ids: All sixteen.
        versions: Of their points, as they were.
        starts: The first vector of each document, and the end of the last one's.
        scales: What a document's whole numbers are to be multiplied with.
        vectors: Bytes with 128 for zero; of 4 bits, two halves of a vector in one byte each.
    """

    bits: int
    dim: int
    keys: Int[np.ndarray, " documents"]
    ids: UInt8[np.ndarray, "documents 16"]
    versions: Int[np.ndarray, " documents"]
    starts: Int[np.ndarray, " bounds"]
    scales: Float[np.ndarray, " documents"]
    vectors: UInt8[np.ndarray, "vectors bytes"]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Maps a copy's files, and reads each to its end to see that it is whole.

        Raises:
            CopyDamagedError: It is not.
        """
        try:
            said = json.loads((folder / "copy.json").read_text(encoding="utf-8"))
            if said["format"] != FORMAT:
                raise CopyDamagedError(f"{folder}: format {said['format']}, not {FORMAT}")
            for name, wanted in said["checksums"].items():
                if _checksum(folder / name) != wanted:
                    raise CopyDamagedError(f"{folder / name}: damaged")
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
            shape = int(arrays["starts"][-1]), said["dim"] * said["bits"] // 8
            vectors = np.empty(shape, dtype=np.uint8)
            if shape[0]:  # an empty file cannot be mapped
                vectors = np.memmap(folder / "vectors.bin", dtype=np.uint8, mode="r", shape=shape)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CopyDamagedError(f"{folder}: {error}") from error
        keys = arrays["ids"][:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
        return cls(bits=said["bits"], dim=said["dim"], keys=keys, vectors=vectors, **arrays)

    def rows(self, ids: Sequence[str], versions: Sequence[int]) -> Int[np.ndarray, " ids"]:
        """Where these documents are, as they are in the index; -1 for those that are not here."""
        if not len(self):
            return np.full(len(ids), -1)
        digits = "".join(ids).replace("-", "")  # a UUID for each would take most of the time
        wanted = np.frombuffer(bytes.fromhex(digits), dtype=np.uint8).reshape(-1, 16)
        keys = wanted[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
        same = (self.ids[rows] == wanted).all(axis=1)
        same &= self.versions[rows] == np.asarray(versions, dtype=np.uint64)
        return np.where(same, rows, -1)

    def scores(
        self, query: Float[np.ndarray, "tokens dim"], rows: Int[np.ndarray, " rows"], kernel: Kernel
    ) -> Float[np.ndarray, " rows"]:
        """MaxSim of the documents in these rows; of each, its own vectors and no padding.

        Documents of like length are scored together: the shorter ones have their first vector
        again, which changes no maximum.
        """
        asked = Quantized.of(query)
        lengths = (self.starts[rows + 1] - self.starts[rows]).astype(np.int64)
        widths = _widths(lengths)
        found = np.empty(len(rows), dtype=np.float32)
        for width in np.unique(widths):
            (group,) = np.nonzero(widths == width)
            most = max(1, min(AT_ONCE, BYTES_AT_ONCE // int(width * self.dim)))
            for begin in range(0, len(group), most):
                some = group[begin : begin + most]
                offsets = np.arange(width)[None] % lengths[some, None]
                places = self.starts[rows[some], None] + offsets
                found[some] = kernel.score(self._bytes(places), asked)
        return found * self.scales[rows]

    def _bytes(self, places: Int[np.ndarray, "documents width"]) -> UInt8[np.ndarray, "..."]:
        taken = np.take(self.vectors, places, axis=0)
        if self.bits == 8:
            return taken
        numbers = np.empty((*places.shape, self.dim), dtype=np.uint8)
        half = self.dim // 2
        np.bitwise_and(taken, 15, out=numbers[..., :half])
        np.right_shift(taken, 4, out=numbers[..., half:])
        numbers += ZERO - 8
        return numbers


class CopyWriter:
    """Writes a new folder, which is a copy when `finish` returns; its block closes the file."""

    def __init__(self, folder: Path, *, dim: int, bits: int) -> None:
        """Begins a copy.

        Raises:
            ValueError: Vectors of an odd length have no halves for 4 bits.
        """
        if bits == 4 and dim % 2:
            raise ValueError(f"vectors of {dim} numbers cannot be kept in 4 bits")
        self._folder, self._dim, self._bits = folder, dim, bits
        self._ids: list[bytes] = []
        self._versions: list[int] = []
        self._lengths: list[int] = []
        self._scales: list[float] = []
        folder.mkdir(parents=True)
        self._file = (folder / "vectors.bin").open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, found: Mapping[str, Float[np.ndarray, "tokens dim"]], versions: Any) -> None:
        """Adds documents, in the rising order of their ids; those without a version are left out.

        Args:
            found: Vectors by id.
            versions: Of their points, by id; read before the vectors, so that a change in between
                makes another one.
        """
        for identifier, vectors in found.items():
            if identifier not in versions or not len(vectors):
                continue
            numbers, scale = _whole(vectors, self._bits)
            self._file.write(numbers.tobytes())
            self._ids.append(UUID(identifier).bytes)
            self._versions.append(versions[identifier])
            self._lengths.append(len(vectors))
            self._scales.append(scale)

    def finish(self) -> None:
        """Writes what is left."""
        self._file.close()
        arrays: dict[str, np.ndarray] = {
            "ids": np.frombuffer(b"".join(self._ids), dtype=np.uint8).reshape(-1, 16),
            "versions": np.array(self._versions, dtype=np.uint64),
            "starts": np.cumsum([0, *self._lengths], dtype=np.int64),
            "scales": np.array(self._scales, dtype=np.float32),
        }
        for name, array in arrays.items():
            np.save(self._folder / f"{name}.npy", array, allow_pickle=False)
        files = [*(f"{name}.npy" for name in _ARRAYS), "vectors.bin"]
        checksums = {name: _checksum(self._folder / name) for name in files}
        said = {"format": FORMAT, "dim": self._dim, "bits": self._bits, "checksums": checksums}
        (self._folder / "copy.json").write_text(json.dumps(said), encoding="utf-8")


def _whole(
    vectors: Float[np.ndarray, "tokens dim"], bits: int
) -> tuple[UInt8[np.ndarray, "tokens bytes"], float]:
    """A document's vectors in whole numbers, and their scale."""
    if bits == 8:
        scale = float(np.abs(vectors).max()) / REACH or 1.0
        return (np.rint(vectors / scale) + ZERO).astype(np.uint8), scale
    scale = _STEP * float(np.sqrt(np.square(vectors, dtype=np.float64).mean())) or 1.0
    numbers = (np.clip(np.rint(vectors / scale), -_REACH_4, _REACH_4) + 8).astype(np.uint8)
    half = vectors.shape[1] // 2
    return numbers[:, :half] | (numbers[:, half:] << 4), scale


def _widths(lengths: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """The lengths, rounded up by an eighth at most, or to a multiple of 4 if that is more."""
    step = np.maximum(4, 2 ** np.log2(np.maximum(lengths, 8) / 8).astype(np.int64))
    return -(-lengths // step) * step


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while part := file.read(_READ):
            value = zlib.crc32(part, value)
    return value
