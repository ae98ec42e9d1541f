"""Arrays of numbers and the contexts made of them. Nothing here needs numpy."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

# numpy's names for our types, and the codes of Python's buffers. `bfloat16` has neither.
TYPESTRS = {
    "float32": "<f4",
    "float16": "<f2",
    "int8": "|i1",
    "uint8": "|u1",
    "int32": "<i4",
    "int64": "<i8",
}
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8}
BUFFER_CODES = {"f": "float32", "e": "float16", "b": "int8", "B": "uint8", "i": "int32"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array of numbers, as its bytes.

    numpy reads it without a copy: ``np.asarray(tensor)``, which is the same as
    ``np.frombuffer(tensor.data, tensor.dtype).reshape(tensor.shape)``.

    Attributes:
        dtype: `float32`, `float16`, `bfloat16`, `int8`, `uint8`, `int32` or `int64`.
        shape: The length of each axis, outermost first.
        data: The elements in row-major order, little-endian.
    """

    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def __post_init__(self) -> None:
        width = WIDTHS.get(self.dtype)
        if width is None:
            raise ValueError(f"dtype must be one of {', '.join(WIDTHS)}, not {self.dtype!r}")
        size = width * math.prod(self.shape)
        if self.data.nbytes != size:
            shape = "x".join(map(str, self.shape))
            raise ValueError(f"{self.dtype} {shape} takes {size} bytes, not {self.data.nbytes}")

    @classmethod
    def of(cls, array: Any) -> Self:
        """The tensor that shares the memory of a numpy array, an `array.array` or the like.

        Args:
            array: Whatever has a C-contiguous buffer of a type that tensors have.

        Raises:
            ValueError: It is not contiguous, or of another type.
        """
        view = memoryview(array)
        code = view.format.lstrip("<=@")
        dtype = BUFFER_CODES.get(code) or ("int64" if code in "lq" and view.itemsize == 8 else None)
        if dtype is None or not view.c_contiguous:
            raise ValueError(f"needs a C-contiguous array of {', '.join(TYPESTRS)}")
        # A view with an empty axis cannot be cast.
        return cls(
            dtype, tuple(view.shape or ()), view.cast("B") if view.nbytes else memoryview(b"")
        )

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What numpy asks for; see numpy's "array interface protocol", version 3."""
        if self.dtype not in TYPESTRS:
            raise TypeError(f"numpy has no {self.dtype}: read `data` with a library that does")
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": TYPESTRS[self.dtype],
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Weights over a few of very many dimensions.

    Attributes:
        indices: The dimensions, each at most once.
        values: The weight of each dimension in `indices`.
    """

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an encoder made of one input.

    Attributes:
        representations: By name, as `encoder.head`.
        fingerprint: The encoder's: vectors of different fingerprints must not be compared.
    """

    representations: dict[str, Tensor | SparseVector]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """The tokens of one image that a refiner kept.

    Attributes:
        embeddings: (tokens, dim), float32.
        positions: The place of each token in the unpruned grid, in raster order from 0.
        grid: Rows and columns of the unpruned grid.
        fingerprint: The encoder's: tokens of another encoder mean nothing to the same model.
    """

    embeddings: Tensor
    positions: tuple[int, ...]
    grid: tuple[int, int]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """A compressed key-value cache of a causal language model that has read some documents.

    Attributes:
        document_ids: Which, in the order in which they were read.
        artefact: The cache with its checksum: what `tamis.models.contexts` reads, and
            `ContextModel.resume` goes on from.
    """

    document_ids: tuple[str, ...]
    artefact: bytes


@dataclass(frozen=True, slots=True)
class ContextPart:
    """What is left of one document, or of several that were read together.

    One of the four payloads is set; the others are None.

    Attributes:
        document_id: Which document; empty where `key_values` names several.
        method: The refiner that made this part.
        text: Some of its sentences, in their own order.
        visual_tokens: Some of its image's tokens.
        soft_prompt: Vectors that stand for it in a language model's input: (tokens, dim).
        key_values: A compressed key-value cache.
    """

    document_id: str
    method: str
    text: str | None = None
    visual_tokens: VisualTokens | None = None
    soft_prompt: Tensor | None = None
    key_values: KeyValueCache | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a model reads: the best documents, cut down to what matters for the query.

    Attributes:
        parts: In the order of the documents' ranks.
        tokens_before: What the documents measured: words of texts and tokens of images, added up;
            a language model's own tokens where it has read them.
        tokens_after: The same after refining.
        handle: A name under which the server keeps this context for `get_context`, or None.
        expires: When the handle stops working, in UTC, or None.
    """

    parts: tuple[ContextPart, ...]
    tokens_before: int
    tokens_after: int
    handle: str | None = None
    expires: datetime | None = None

    @property
    def text(self) -> str:
        """The parts that are texts, a blank line between each."""
        return "\n\n".join(part.text for part in self.parts if part.text is not None)
