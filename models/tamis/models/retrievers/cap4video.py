"""Cap4Video's search: candidates by whole videos and captions, then its weighted interaction.

A video's frames and a query's words each have a weight. How well they match takes both sides at
once, which no index engine computes, so the nearest videos by one vector each are its candidates.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.rerankers.cap4video import Cap4Video as Scoring
from tamis.models.retrievers import Nearest, Plan, ReciprocalRanks, Retriever, Scored
from tamis.models.types import Paper, Query

__all__ = ("Cap4Video",)


@dataclass(frozen=True, kw_only=True)
class Cap4Video(Retriever):
    """The nearest videos and captions of a text, ordered by frames, words and captions together.

    Attributes:
        words: The query's words, as `encoder.head`.
        frames: The documents' frames.
        text: The query as one vector.
        video: The documents' frames as one vector.
        caption: The documents' captions as one vector.
        share: Of the frames in the score; the captions have the rest.
        depth: How many documents each of the two searches gives, at least.
    """

    paper: ClassVar = Paper(
        "Cap4Video: What Can Auxiliary Captions Do for Text-Video Retrieval?",
        2022,
        "https://arxiv.org/abs/2301.00184",
    )
    checked: ClassVar = (
        "the whole collection scored by the formula; the score itself by a second implementation "
        "(see the reranker)"
    )
    departs: ClassVar = "the paper scores every pair, and searches nothing"

    words: str = "cap4video.words"
    frames: str = "cap4video.frames"
    text: str = "cap4video.text"
    video: str = "cap4video.video"
    caption: str = "cap4video.caption"
    share: float = 0.73
    depth: int = 100

    def __post_init__(self) -> None:
        _ = self._scoring  # refuses a share that is none
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")

    @property
    def _scoring(self) -> Scoring:
        return Scoring(
            query=self.words,
            document=self.frames,
            query_text=self.text,
            caption=self.caption,
            share=self.share,
        )

    @property
    def vectors(self) -> tuple[str, ...]:
        return (self.video, self.caption, self.frames)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.text, self.words)

    def plan(self, query: Query, limit: int) -> Plan | None:
        text = query.representations.get(self.text)
        if not isinstance(text, np.ndarray) or not len(text):
            return None
        depth = max(limit, self.depth)
        parts = [Plan(Nearest(name, text), depth) for name in (self.video, self.caption)]
        union = Plan(ReciprocalRanks(), 2 * depth, tuple(parts))
        scored = Scored(self._scoring, query, (self.frames, self.caption))
        return Plan(scored, limit, (union,))
