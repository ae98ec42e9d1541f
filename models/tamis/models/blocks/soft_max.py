"""A soft maximum of inner products: between the largest of them and their mean."""

import numpy as np
from jaxtyping import Float


def soft_max_product(
    queries: Float[np.ndarray, "queries dim"],
    documents: Float[np.ndarray, "documents dim"],
    *,
    scale: float = 1.0,
) -> Float[np.ndarray, " documents"]:
    """For each document, the sum of its products with the queries, each weighed by its softmax.

    With `z` the products and `scale` 1, the result is at most max(z), and at least
    max(z) - log(queries).

    Args:
        queries: One query's vectors.
        documents: One vector a document.
        scale: What the products are multiplied by in the softmax, and only there.
    """
    products = documents @ queries.T
    logits = products * scale
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights * products).sum(axis=1) / weights.sum(axis=1)
