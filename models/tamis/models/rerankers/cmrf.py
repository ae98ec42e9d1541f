"""CMRF lets audio attend to lyrics and lyrics to audio, and compares each with what it read."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.blocks.attention import attention
from tamis.models.blocks.similarity import cosine, unit
from tamis.models.ranking.vectors import Vectors
from tamis.models.rerankers import VectorReranker

__all__ = ("CMRF",)


@dataclass(frozen=True, kw_only=True)
class CMRF(VectorReranker):
    """The mean of both directions' cosines of a side's mean with the mean of what it attended to.

    Attributes:
        query: The queries' vectors, as `encoder.head`.
        document: The candidates', in the same space.
        temperature: Of the attention.
    """

    checked: ClassVar = "the formula, vector by vector; properties: order of vectors, equal sets"
    departs: ClassVar = (
        "neither the paper nor code could be found; written from a description of CMRF: audio and "
        "lyrics, directional cross-modal attention. Vectors are any encoder's, and the "
        "reinforcement, which is training, has no part in serving"
    )

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {self.temperature}")

    def score_vectors(self, asked: Vectors, held: list[Vectors]) -> list[float]:
        return [(self._read(asked, own) + self._read(own, asked)) / 2 for own in held]

    def _read(self, reader: Vectors, other: Vectors) -> float:
        """The cosine of a side's mean with the mean of what it reads in the other one."""
        read = attention(reader, other, self.temperature) @ unit(other)
        means = unit(reader).mean(axis=0), read.mean(axis=0)
        return float(cosine(means[0][None], means[1][None])[0, 0])
