"""Cap4Video's score: a video's frames against a query's words, and its captions against the query.

Nothing is encoded: the vectors of both sides are there already. The authors train two models, one
for frames and one for captions; each is an encoder of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import cosine
from tamis.models.blocks.token_interaction import weighted_interaction
from tamis.models.ranking.vectors import Vectors, of_vectors
from tamis.models.rerankers import PointwiseReranker
from tamis.models.types import Candidate, Paper, Query

__all__ = ("Cap4Video",)


@dataclass(frozen=True, kw_only=True)
class Cap4Video(PointwiseReranker):
    """Weighted token-wise interaction and the captions' cosine, in fixed shares.

    A candidate that has only frames or only captions scores by those. The words and frames are
    weighted by their lengths, as the encoder makes them.

    Attributes:
        query: The query's words, as `encoder.head`.
        document: The candidates' frames.
        query_text: The query as one vector.
        caption: The candidates' captions as one vector.
        share: Of the frames in the score; the captions have the rest.
        max_words: Words to which queries were padded in training; 0 for none.
        max_frames: Frames to which videos were padded in training; 0 for none.
    """

    paper: ClassVar = Paper(
        "Cap4Video: What Can Auxiliary Captions Do for Text-Video Retrieval?",
        2022,
        "https://arxiv.org/abs/2301.00184",
    )
    checked: ClassVar = "a plain second implementation of the published code's scores"
    departs: ClassVar = "a candidate without captions, or without frames, scores by the other part"

    query: str
    document: str
    query_text: str = "cap4video.text"
    caption: str = "cap4video.caption"
    share: float = 0.73
    max_words: int = 32
    max_frames: int = 12

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share}")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.query, self.document, self.query_text, self.caption)

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        interaction = partial(
            weighted_interaction, query_room=self.max_words, document_room=self.max_frames
        )
        frames = of_vectors(query, candidates, self.query, self.document, interaction)
        captions = of_vectors(query, candidates, self.query_text, self.caption, _cosines)
        parts = np.stack([self.share * frames, (1 - self.share) * captions])
        there = np.isfinite(parts)
        return np.where(there.any(axis=0), np.where(there, parts, 0).sum(axis=0), -np.inf)


def _cosines(asked: Vectors, held: list[Vectors]) -> Float[np.ndarray, " documents"]:
    """The cosine of each; of several vectors, the best."""
    return np.array([cosine(asked, own).max() for own in held])
