"""Attention between two sets of vectors, without learned projections."""

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import cosine


def softmax(logits: Float[np.ndarray, "*n m"]) -> Float[np.ndarray, "*n m"]:
    """Shares over the last axis, which sum to 1."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(
    queries: Float[np.ndarray, "n dim"], keys: Float[np.ndarray, "m dim"], temperature: float
) -> Float[np.ndarray, "n m"]:
    """How much each query attends to each key: the softmax of their cosines."""
    return softmax(cosine(queries, keys) / temperature)
