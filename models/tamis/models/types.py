"""The values that flow between the stages. They hold data and compute nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int
from PIL.Image import Image

TERM_VARIANTS = ("lucene", "robertson", "atire", "bm25l", "bm25_plus", "tf_idf")


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a method was published."""

    title: str
    year: int
    url: str


class Side(StrEnum):
    """Which side of a search a content is on; encoders may treat the two differently."""

    QUERY = "query"
    DOCUMENT = "document"


class Modality(StrEnum):
    """What a content can be made of."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"


class Kind(StrEnum):
    """What a representation looks like."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI = "multi"


@dataclass(frozen=True, slots=True)
class Content:
    """What a query or a document is made of: a text, an image, a video, or several of them.

    Attributes:
        text: Words, or None.
        image: A decoded picture in mode RGB, or None.
        instruction: What kind of answer is wanted, for encoders trained with instructions.
        frames: Decoded pictures of a video in mode RGB, in their order; none for no video.
    """

    text: str | None = None
    image: Image | None = None
    instruction: str | None = None
    frames: tuple[Image, ...] = ()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the content has."""
        return parts_there(text=self.text, image=self.image, frames=self.frames)


def parts_there(
    *, text: object | None, image: object | None, frames: Sequence[object]
) -> frozenset[Modality]:
    """The modalities of which a content has something."""
    there = {
        Modality.TEXT: text is not None,
        Modality.IMAGE: image is not None,
        Modality.VIDEO: len(frames) > 0,
    }
    return frozenset(modality for modality, has in there.items() if has)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Weights over a few of very many dimensions. `indices` are distinct, in rising order."""

    indices: Int[np.ndarray, " terms"]
    values: Float[np.ndarray, " terms"]


# One vector (one axis), one vector a token (two axes), or weights of terms: `Head.kind` says which.
Representation = Float[np.ndarray, "..."] | Sparse


@dataclass(frozen=True, slots=True, kw_only=True)
class TermWeighting:
    """How an index weighs counts of terms. `blocks.term_weights` computes it.

    Attributes:
        variant: ``lucene``, ``robertson``, ``atire``, ``bm25l`` or ``bm25_plus``, which are BM25's,
            or ``tf_idf``.
        k1: How soon a repeated term stops adding; 0 for at once.
        b: How far long documents are marked down, from 0 to 1.
        delta: What BM25L and BM25+ grant every term that occurs.
        average_length: Of the collection's documents, in terms; 0 to measure it where the
            collection is made.
    """

    variant: str = "lucene"
    k1: float = 1.2
    b: float = 0.75
    delta: float = 0.5
    average_length: float = 0.0

    def __post_init__(self) -> None:
        if self.variant not in TERM_VARIANTS:
            known = ", ".join(TERM_VARIANTS)
            raise ValueError(f"variant must be one of {known}, not {self.variant!r}")
        if not 0 <= self.k1 < math.inf:
            raise ValueError(f"k1 must be at least 0, not {self.k1}")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b must be from 0 to 1, not {self.b}")
        if not 0 <= self.delta < math.inf:
            raise ValueError(f"delta must be at least 0, not {self.delta}")
        if not 0 <= self.average_length < math.inf:
            raise ValueError(
                f"average_length must be above 0 words, or 0 to measure it, "
                f"not {self.average_length}"
            )


@dataclass(frozen=True, slots=True)
class Head:
    """One kind of representation that an encoder makes.

    Attributes:
        kind: What it looks like.
        dim: The length of one vector; 0 for sparse ones.
        space: Representations may be compared when their spaces are equal, whoever made them.
        idf: Whether the index multiplies each dimension of a query by how rare it is.
        dot: Whether single vectors are compared by their inner product as it is; else by their
            cosine.
        weighting: How an index weighs it, where it is counts of terms.
    """

    kind: Kind
    dim: int
    space: str
    idf: bool = False
    dot: bool = False
    weighting: TermWeighting | None = None


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """The tokens that a vision encoder makes of one image.

    Attributes:
        embeddings: One row a token.
        attention: How much the pooling, or the [CLS] token, attends to each token; sums to 1
            over the unpruned grid.
        positions: The tokens' places in the unpruned grid, in raster order, rising.
        grid: Rows and columns of the unpruned grid.
        keys: The tokens' attention keys, where the encoder gives them: by these, better than by the
            embeddings, some methods tell which tokens are alike.
    """

    embeddings: Float[np.ndarray, "tokens dim"]
    attention: Float[np.ndarray, " tokens"]
    positions: Int[np.ndarray, " tokens"]
    grid: tuple[int, int]
    keys: Float[np.ndarray, "tokens key_dim"] | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def take(self, kept: Int[np.ndarray, " kept"]) -> "VisualTokens":
        """The tokens at `kept`, in that order."""
        keys = None if self.keys is None else self.keys[kept]
        return VisualTokens(
            self.embeddings[kept], self.attention[kept], self.positions[kept], self.grid, keys
        )


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an encoder made of one content: a representation for each head that applies to it."""

    heads: Mapping[str, Representation]
    visual: VisualTokens | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for, and its representations under the names of `encoder.head`."""

    content: Content
    representations: Mapping[str, Representation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document between stages, with the score that the last one gave it; higher is better.

    Attributes:
        document_id: Its id in the collection.
        score: Comparable only within one ranking.
        content: The document itself. Its image is there only where the next method reads images.
        representations: Those that the next method asked for, as `encoder.head`.
    """

    document_id: str
    score: float
    content: Content = Content()
    representations: Mapping[str, Representation] = field(default_factory=dict)
