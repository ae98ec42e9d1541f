"""G-Prune keeps the visual tokens in which information gathers when it flows over their graph.

Tokens that are alike are linked; each starts with its own norm and passes what it holds along its
links, a few times over. A token's score is what it then holds, shared among its links.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import cosine_within, lengths
from tamis.models.refiners import ScoreRefiner
from tamis.models.types import Paper, VisualTokens

__all__ = ("GPrune",)

NO_LOGIT = 1e-6  # a cosine over the temperature that is smaller is no link for the authors


@dataclass(frozen=True, kw_only=True)
class GPrune(ScoreRefiner):
    """Propagation over the graph of similar tokens.

    Of many near-duplicates none may be kept: a score is shared among the links. As published.

    Attributes:
        similarity: The cosine from which two tokens are linked.
        temperature: Of the softmax over a token's links.
        iterations: How often information is passed on.
    """

    paper: ClassVar = Paper(
        "What Kind of Visual Tokens Do We Need? Training-free Visual Token Pruning for Multi-modal "
        "Large Language Models from the Perspective of Graph",
        2025,
        "https://arxiv.org/abs/2501.02268",
    )
    checked: ClassVar = "golden data of the authors' code; powers of the matrix in float64"

    similarity: float = 0.5
    temperature: float = 0.03
    iterations: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.similarity <= 1:
            raise ValueError(f"similarity must be from 0 to 1, not {self.similarity}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if self.iterations < 0:
            raise ValueError(f"iterations must be at least 0, not {self.iterations}")

    def score(self, tokens: VisualTokens) -> Float[np.ndarray, " tokens"]:
        cosines = cosine_within(tokens.embeddings)
        linked = cosines >= max(self.similarity, NO_LOGIT * self.temperature)
        cosines -= cosines.max(axis=1, keepdims=True)
        cosines /= self.temperature
        flow = np.exp(cosines, out=cosines)
        flow *= linked
        flow[~linked.any(axis=1)] = 1  # without a link, as with links to all
        flow /= flow.sum(axis=1, keepdims=True)
        links = (flow > 0).sum(axis=1)  # what underflows is no link
        # The row vector times the matrix, again and again: the matrix itself is never squared.
        held = lengths(tokens.embeddings.astype(np.float32, copy=False))[:, 0]
        for _ in range(self.iterations):
            held = held @ flow
        return held / links
