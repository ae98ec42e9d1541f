"""What rerankers that read texts do about candidates that have none."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tamis.models.types import Candidate, Query

Score = Callable[[str, list[str]], Float[np.ndarray, " texts"]]


def of_texts(
    query: Query, candidates: Sequence[Candidate], score: Score
) -> Float[np.ndarray, " candidates"]:
    """The scores of the candidates' texts; -inf for candidates and queries without one.

    Args:
        query: What is searched for.
        candidates: Of any modality.
        score: How well each text answers the query's.
    """
    scores = np.full(len(candidates), -np.inf)
    told = [(i, c.content.text) for i, c in enumerate(candidates) if c.content.text is not None]
    if query.content.text is not None and told:
        scores[[i for i, _ in told]] = score(query.content.text, [text for _, text in told])
    return scores
