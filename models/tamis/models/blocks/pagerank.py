"""PageRank of a weighted graph."""

import numpy as np
from jaxtyping import Float


def pagerank(
    weights: Float[np.ndarray, "n n"],
    prior: Float[np.ndarray, " n"],
    *,
    damping: float = 0.85,
) -> Float[np.ndarray, " n"]:
    """How often a walk along the edges is at each node, in the limit; sums to 1.

    Solved as linear equations, so there is no tolerance: for some hundreds of nodes this is faster
    than to iterate.

    Args:
        weights: `weights[i, j]` of the edge from i to j; none is negative.
        prior: Where a walk begins, and where it goes on from a node without edges; numbers that are
            negative or not finite count as 0, and all as equal where none is left.
        damping: The probability that a walk goes on along an edge.
    """
    believed = np.where(np.isfinite(prior), np.maximum(prior, 0.0), 0.0).astype(float)
    total = believed.sum()
    jump = believed / total if total > 0 else np.full(len(prior), 1 / max(len(prior), 1))
    out = weights.sum(axis=1, keepdims=True)
    steps = np.where(out > 0, weights / np.where(out > 0, out, 1.0), jump)
    ranks = np.linalg.solve(np.eye(len(prior)) - damping * steps.T, (1 - damping) * jump)
    return ranks / ranks.sum() if len(ranks) else ranks
