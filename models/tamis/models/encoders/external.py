"""Representations that somebody else makes: upserts and searches bring them.

SPLADE's weights, a model of the caller's own, vectors out of another system: all are indexed,
filtered, fused and reranked like those of an encoder here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.encoders import Encoder
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side, TermWeighting

__all__ = ("External",)


@dataclass(frozen=True, kw_only=True)
class External(Encoder):
    """One head, `given`, which only callers fill.

    Attributes:
        space: Names the model and all that makes its representations what they are: another
            name is another fingerprint, and is refused by an index of this one.
        kind: ``sparse``, ``dense`` or ``multi``.
        dim: The length of one vector; 0 for sparse ones.
        idf: Whether the index multiplies each dimension of a sparse query by how rare it is.
        dot: Whether dense vectors are compared by their inner product; else by their cosine.
        weighting: How an index weighs counts of terms, such as DeepCT's; unset where the weights
            are ready.
    """

    checked: ClassVar = "what comes back is what was brought"
    modalities: ClassVar = frozenset({Modality.TEXT})

    space: str
    kind: str = "sparse"
    dim: int = 0
    idf: bool = False
    dot: bool = False
    weighting: TermWeighting | None = None

    def __post_init__(self) -> None:
        if self.kind not in tuple(Kind):
            raise ValueError(f"kind must be one of {', '.join(Kind)}, not {self.kind!r}")
        sparse = self.kind == Kind.SPARSE
        if sparse != (self.dim == 0) or self.dim < 0:
            raise ValueError(f"dim must be {0 if sparse else 'above 0'}, not {self.dim}")
        if not sparse and (self.idf or self.weighting):
            raise ValueError(f"idf and weighting are for sparse representations, not {self.kind}")

    @property
    def heads(self) -> Mapping[str, Head]:
        idf = self.idf or self.weighting is not None
        space = f"external:{self.space}"
        made = Head(Kind(self.kind), self.dim, space, idf, self.dot, self.weighting)
        return {"given": made}

    @property
    def fingerprint(self) -> str:
        recipe = f"external {self.space} {self.kind} {self.dim} {self.idf} {self.dot}"
        return hashlib.sha256(recipe.encode()).hexdigest()[:16]

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """Encodings without a head."""
        return [Encoding({}) for _ in contents]
