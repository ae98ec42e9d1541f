"""How well the tokens of two sides match, where each token has a weight."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import lengths, unit


def weighted_interaction(
    query: Float[np.ndarray, "tokens dim"],
    documents: Sequence[Float[np.ndarray, "_ dim"]],
    *,
    query_room: int = 0,
    document_room: int = 0,
) -> Float[np.ndarray, " documents"]:
    """Each side's tokens find their best match on the other, by cosine; the mean of both sides.

    A token's direction is what it means, and its length is its weight on its side.

    Args:
        query: Its tokens, at least one.
        documents: The tokens of each, at least one.
        query_room: Tokens to which queries were padded in training. Padding matches with 0, so no
            best match with a shorter query is below that; 0 for no padding.
        document_room: The same of documents.
    """
    asked, weights = unit(query), lengths(query)[:, 0]
    scores = np.empty(len(documents), dtype=np.float32)
    for i, document in enumerate(documents):
        matches = asked @ unit(document).T
        least = -np.inf if len(document) >= document_room else 0.0
        of_query = weights @ matches.max(axis=1, initial=least)
        least = -np.inf if len(query) >= query_room else 0.0
        of_document = lengths(document)[:, 0] @ matches.max(axis=0, initial=least)
        scores[i] = (of_query + of_document) / 2
    return scores
