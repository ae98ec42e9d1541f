"""Pools the vectors of one document: like ones are averaged, so that fewer are stored."""

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.similarity import unit

ROUNDING = 1e-12  # of a squared distance, relative to the points' own squares


def token_pooling(
    vectors: Float[np.ndarray, "tokens dim"], factor: int
) -> tuple[Float[np.ndarray, "pooled dim"], Int[np.ndarray, " tokens"]]:
    """Hierarchical token pooling: the mean of each of `tokens // factor` clusters, of length 1.

    As colpali-engine runs it, and not as it is described: Ward's clusters are made of the rows of
    ``1 - cosine``, each token being described by how far it is from every other.

    Args:
        vectors: Of length 1.
        factor: How many tokens become one, on average; 1 leaves them as they are.

    Returns:
        The pooled vectors, fewer where tokens are alike beyond telling, and the row of each
        token's cluster among them.
    """
    count = len(vectors)
    if factor <= 1 or count <= 1:
        return vectors, np.arange(count)
    described = (1 - vectors @ vectors.T).astype(np.float64)
    clusters = flat(*ward(described), most=max(count // factor, 1))
    pooled = np.zeros((int(clusters.max()) + 1, vectors.shape[1]), dtype=vectors.dtype)
    np.add.at(pooled, clusters, vectors)
    members = np.bincount(clusters)[:, None].astype(vectors.dtype)
    return unit(pooled / members), clusters


def ward(
    points: Float[np.ndarray, "n dim"],
) -> tuple[Int[np.ndarray, "merges 2"], Float[np.ndarray, " merges"]]:
    """Ward's tree: the two clusters whose union adds least variance are joined, until one is left.

    By chains of nearest neighbours, in time and memory of the square of `n`.

    Returns:
        The pairs that are joined, by rising height, each in rising order, and the heights. The
        points are the clusters 0 to n - 1; the union of pair i is the cluster n + i.
    """
    n = len(points)
    squares = np.vecdot(points, points)
    near = squares[:, None] + squares - 2 * points @ points.T
    near[near < ROUNDING * squares.max()] = 0  # equal points, which must be joined at one height
    np.fill_diagonal(near, np.inf)
    size = np.ones(n)
    pairs, heights = np.zeros((n - 1, 2), dtype=np.int64), np.zeros(n - 1)
    chain: list[int] = []
    for k in range(n - 1):
        if not chain:
            chain.append(int(np.argmax(size > 0)))
        while True:
            own = near[chain[-1]]
            nearest = int(own.argmin())
            # Among equals the one before in the chain, or it would go round in circles.
            if len(chain) > 1 and own[chain[-2]] <= own[nearest]:
                break
            chain.append(nearest)
        dropped, kept = sorted((chain.pop(), chain.pop()))
        pairs[k], heights[k] = (dropped, kept), near[dropped, kept]
        _join(near, size, dropped, kept)
    order = np.argsort(heights, kind="stable")
    return _relabelled(pairs[order], n), np.sqrt(heights[order])


def flat(
    pairs: Int[np.ndarray, "merges 2"], heights: Float[np.ndarray, " merges"], *, most: int
) -> Int[np.ndarray, " n"]:
    """The clusters of a tree that is cut at the lowest height that leaves at most `most`.

    They are numbered from 0 in the order in which scipy meets them: larger children before single
    points, the one made first before the other.
    """
    n = len(pairs) + 1
    # Rounding may put a union a hair below its parts.
    heights = np.maximum.accumulate(heights)
    cut = heights[n - 1 - most]
    clusters = np.full(n, -1)
    count = 0
    pending: list[tuple[int, int]] = [(2 * n - 2, -1)]  # a node, and the cluster that it is in
    while pending:
        node, cluster = pending.pop()
        if node >= n and cluster < 0 and heights[node - n] <= cut:
            cluster, count = count, count + 1
        if node < n:
            if cluster < 0:
                cluster, count = count, count + 1
            clusters[node] = cluster
            continue
        first, second = (int(child) for child in pairs[node - n])
        # The last pushed is met first.
        pending += [(c, cluster) for c in sorted((second, first), key=lambda c: c >= n)]
    return clusters


def _join(
    near: Float[np.ndarray, "n n"], size: Float[np.ndarray, " n"], dropped: int, kept: int
) -> None:
    """Puts two clusters together in the place of `kept`, by Lance and Williams' update."""
    one, other, between = size[dropped], size[kept], near[dropped, kept]
    left = size > 0
    left[[dropped, kept]] = False
    rest = size[left]
    joined = (rest + one) * near[dropped, left] + (rest + other) * near[kept, left] - rest * between
    near[kept, left] = near[left, kept] = joined / (one + other + rest)
    near[dropped] = near[:, dropped] = np.inf
    size[dropped], size[kept] = 0, one + other


def _relabelled(pairs: Int[np.ndarray, "merges 2"], n: int) -> Int[np.ndarray, "merges 2"]:
    """Pairs of places as pairs of clusters."""
    now = np.arange(n)  # the cluster that stands at a place
    labelled = np.empty_like(pairs)
    for k, (dropped, kept) in enumerate(pairs):
        labelled[k] = sorted((now[dropped], now[kept]))
        now[kept] = n + k
    return labelled
