"""What rerankers that compare two sides' vectors do about candidates that have none."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tamis.models.types import Candidate, Query, Representation

Vectors = Float[np.ndarray, "_ dim"]
Score = Callable[[Vectors, list[Vectors]], Sequence[float] | Float[np.ndarray, " documents"]]


def of_vectors(
    query: Query, candidates: Sequence[Candidate], asked: str, held: str, score: Score
) -> Float[np.ndarray, " candidates"]:
    """The scores of the candidates' vectors; -inf for candidates and queries without any.

    Args:
        query: What is searched for.
        candidates: With or without the representation.
        asked: The query's representation; a single vector is one row.
        held: The candidates'.
        score: How well each candidate's vectors match the query's.
    """
    scores = np.full(len(candidates), -np.inf)
    own = _rows(query.representations.get(asked))
    found = [(i, _rows(c.representations.get(held))) for i, c in enumerate(candidates)]
    there = [(i, vectors) for i, vectors in found if vectors is not None]
    if own is not None and there:
        scores[[i for i, _ in there]] = score(own, [vectors for _, vectors in there])
    return scores


def _rows(representation: Representation | None) -> Vectors | None:
    if not isinstance(representation, np.ndarray) or not representation.size:
        return None
    return np.atleast_2d(representation)
