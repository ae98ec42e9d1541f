"""MaxP scores a long document by its best window, with any reranker that reads texts one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.errors import SettingsError
from tamis.models.ranking import AT_ONCE
from tamis.models.rerankers import PointwiseReranker, Reranker
from tamis.models.types import Candidate, Paper, Query

__all__ = ("MaxP",)


@dataclass(frozen=True, kw_only=True)
class MaxP(PointwiseReranker):
    """The best score of a document's overlapping windows of words.

    Attributes:
        reranker: What scores a window: a pointwise method.
        window: Words of one window.
        stride: How many words further the next one begins.
    """

    paper: ClassVar = Paper(
        "Deeper Text Understanding for IR with Contextual Neural Language Modeling",
        2019,
        "https://arxiv.org/abs/1905.09217",
    )
    checked: ClassVar = "the maximum over every window, one by one"
    at_once: ClassVar = AT_ONCE

    reranker: Reranker
    window: int = 150
    stride: int = 75

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.window:
            raise ValueError(f"needs 1 <= stride <= window, not {self.stride}, {self.window}")
        if not isinstance(self.reranker, PointwiseReranker):
            raise SettingsError(f"reranker: {type(self.reranker).__name__} is not pointwise")

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        assert isinstance(self.reranker, PointwiseReranker)  # noqa: S101 - said at the start
        parts = [
            (i, replace(candidate, content=replace(candidate.content, text=text)))
            for i, candidate in enumerate(candidates)
            for text in self._windows(candidate.content.text)
        ]
        scores = np.full(len(candidates), -np.inf)
        found = self.reranker.score(query, [part for _, part in parts])
        np.fmax.at(scores, [i for i, _ in parts], found)  # a NaN is no maximum
        return scores

    def _windows(self, text: str | None) -> Iterator[str | None]:
        words = (text or "").split()
        if len(words) <= self.window:
            yield text
            return
        for first in range(0, len(words) - self.window + self.stride, self.stride):
            yield " ".join(words[first : first + self.window])
