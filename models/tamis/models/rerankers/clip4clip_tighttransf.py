"""CLIP4Clip's tight similarity: one transformer reads a text's vector and a video's frames."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.ranking.vectors import Vectors
from tamis.models.rerankers import VectorReranker
from tamis.models.runtimes.pair_scorer import PairScorer
from tamis.models.types import Paper

__all__ = ("CLIP4ClipTightTransf",)


@dataclass(frozen=True, kw_only=True)
class CLIP4ClipTightTransf(VectorReranker):
    """The logit that a cross transformer gives a pair, as the checkpoint made it: not normalised.

    Attributes:
        model: The cross transformer, as `tamis export --method clip4clip_tighttransf` makes it.
        query: The queries' text vectors before they are normalised, as `encoder.head`.
        document: The candidates' frames, one vector a frame, in their order.
    """

    paper: ClassVar = Paper(
        "CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval",
        2021,
        "https://arxiv.org/abs/2104.08860",
    )
    checked: ClassVar = "golden data of the authors' code, through the exported graph"
    departs: ClassVar = "videos with as many frames are run together, so that no frame is masked"

    model: PairScorer

    def score_vectors(self, asked: Vectors, held: list[Vectors]) -> Float[np.ndarray, " documents"]:
        return self.model.scores(asked, held)
