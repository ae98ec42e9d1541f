"""Centroids of token vectors: a token is found through the one that it is closest to."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.similarity import lengths, unit
from tamis.models.types import Sparse

FEWEST, MOST = 16, 16_384
ALL_AT_ONCE = 512  # centroids that are all looked at; more are looked for in groups of likes
PROBED = 6  # groups whose centroids a token is compared with
ROUNDS = 8  # of Lloyd's iteration: the similarities hardly rise after them
CHUNK = 1 << 15  # tokens that are compared at once: some 16 MB of similarities
IMPUTED = 0.9  # the share of the least probed similarity that every document is taken to have


def advised_count(tokens: int) -> int:
    """How many centroids to have for so many tokens: the power of two nearest to 4 roots of it.

    That is a quarter of what ColBERTv2 takes: its lists are shorter, but every query is compared
    with all centroids, and on two cores that is the larger part.
    """
    power = round(math.log2(4 * math.sqrt(max(tokens, 1))))
    return min(max(1 << power, FEWEST), MOST)


@dataclass(frozen=True, eq=False)
class Centroids:
    """Vectors of length 1, those of one group side by side.

    Attributes:
        vectors: One a centroid.
        starts: Where each group begins, and where the last one ends.
    """

    vectors: Float[np.ndarray, "count dim"]
    starts: Int[np.ndarray, " bounds"]

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def means(self) -> Float[np.ndarray, "groups dim"]:
        """The middle of each group."""
        return unit(np.add.reduceat(self.vectors, self.starts[:-1], axis=0))

    def nearest(
        self, tokens: Float[np.ndarray, "tokens dim"], *, threads: int = 1
    ) -> Int[np.ndarray, " tokens"]:
        """The centroid of each token: the most similar one of the groups that are most similar.

        Of many centroids that is the most similar of all for some 19 in 20 tokens, and otherwise
        one that is hardly less so.
        """
        if not len(tokens):
            return np.empty(0, dtype=np.int32)
        chunks = [tokens[start : start + CHUNK] for start in range(0, len(tokens), CHUNK)]
        with ThreadPoolExecutor(max(1, min(threads, len(chunks)))) as pool:
            return np.concatenate(list(pool.map(self._nearest, chunks)))

    def _nearest(self, tokens: Float[np.ndarray, "tokens dim"]) -> Int[np.ndarray, " tokens"]:
        tokens = tokens.astype(np.float32, copy=False)
        groups = len(self.starts) - 1
        if groups <= PROBED:
            return (tokens @ self.vectors.T).argmax(axis=1).astype(np.int32)
        similar = tokens @ self.means.T
        probed = np.argpartition(similar, groups - PROBED, axis=1)[:, groups - PROBED :]
        best = np.full(len(tokens), -np.inf, dtype=np.float32)
        chosen = np.zeros(len(tokens), dtype=np.int32)
        for group, rows in _members(probed, groups):
            begin, end = self.starts[group], self.starts[group + 1]
            inner = tokens[rows] @ self.vectors[begin:end].T
            place = inner.argmax(axis=1)
            value = inner[np.arange(len(rows)), place]
            better = value > best[rows]
            best[rows[better]] = value[better]
            chosen[rows[better]] = begin + place[better]
        return chosen

    def similarity(self, tokens: Float[np.ndarray, "tokens dim"], *, threads: int = 1) -> float:
        """The mean cosine of tokens with their centroids: how well these stand for those.

        It falls when what comes in is unlike what the centroids were trained on.
        """
        near = self.vectors[self.nearest(tokens, threads=threads)]
        cosines = np.vecdot(tokens, near) / np.maximum(lengths(tokens)[:, 0], 1e-12)
        return float(cosines.mean(dtype=np.float64))

    def terms(
        self, documents: Sequence[Float[np.ndarray, "_ dim"]], *, threads: int = 1
    ) -> list[Sparse]:
        """Documents as weights over centroids: 1 for each that a token of theirs is closest to."""
        if not documents:
            return []
        bounds = np.cumsum([len(document) for document in documents])
        own = np.split(self.nearest(np.concatenate(documents), threads=threads), bounds[:-1])
        there = [np.unique(one).astype(np.int64) for one in own]
        return [Sparse(one, np.ones(len(one), dtype=np.float32)) for one in there]

    def weights(self, query: Float[np.ndarray, "tokens dim"], probes: int) -> Sparse:
        """A query as weights over centroids, whose product with a document's estimates MaxSim.

        Each token counts for its `probes` nearest centroids, by how much more similar they are
        than what any document may be taken to have: nine tenths of the last one's similarity.
        """
        similar = query.astype(np.float32, copy=False) @ self.vectors.T
        probes = min(probes, len(self))
        nearest = np.argpartition(similar, len(self) - probes, axis=1)[:, len(self) - probes :]
        values = np.take_along_axis(similar, nearest, axis=1)
        values -= IMPUTED * values.min(axis=1, keepdims=True)
        there, place = np.unique(nearest, return_inverse=True)
        summed = np.bincount(place.ravel(), values.ravel(), minlength=len(there))
        return Sparse(there, summed.astype(np.float32))


def train(
    tokens: Float[np.ndarray, "tokens dim"], count: int, *, seed: int = 0, threads: int = 1
) -> Centroids:
    """Spherical k-means, in two levels where there are many centroids.

    The tokens are put into groups, each group has its share of the centroids, and these are
    trained within it; then two rounds over all let tokens go to another group's centroid.

    Args:
        tokens: A sample, some 40 a centroid; a centroid needs at least one.
        count: How many centroids.
        seed: Of the tokens that they begin at.
        threads: How many to use.
    """
    tokens = unit(tokens.astype(np.float32, copy=False))
    count = min(count, len(tokens))
    rng = np.random.default_rng(seed)
    if count <= ALL_AT_ONCE:
        return _flat(tokens, count, rng, threads)
    groups = _flat(tokens, round(math.sqrt(count)), rng, threads)
    own = groups.nearest(tokens, threads=threads)
    members = [np.flatnonzero(own == group) for group in range(len(groups))]
    sizes = _shares(np.array([len(rows) for rows in members]), count)

    def within(group: int, own_rng: np.random.Generator) -> Centroids:
        return _flat(tokens[members[group]], int(sizes[group]), own_rng, 1)

    some = np.flatnonzero(sizes).tolist()
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(within, some, rng.spawn(len(some))))
    bounds = np.cumsum([0, *(len(part) for part in parts)])
    centroids = Centroids(np.concatenate([part.vectors for part in parts]), bounds)
    for _ in range(2):
        centroids = _moved(centroids, tokens, threads)
    return centroids


def _flat(
    tokens: Float[np.ndarray, "tokens dim"], count: int, rng: np.random.Generator, threads: int
) -> Centroids:
    """Lloyd's iteration over all centroids at once."""
    first = tokens[rng.choice(len(tokens), count, replace=False)]
    centroids = Centroids(first, np.array([0, count]))
    for _ in range(ROUNDS):
        centroids = _moved(centroids, tokens, threads)
    return centroids


def _moved(
    centroids: Centroids, tokens: Float[np.ndarray, "tokens dim"], threads: int
) -> Centroids:
    """Each centroid in the middle of its tokens; one without any stays where it is."""
    own = centroids.nearest(tokens, threads=threads)
    order = np.argsort(own, kind="stable")
    there, starts = np.unique(own[order], return_index=True)
    vectors = centroids.vectors.copy()
    sums = np.add.reduceat(tokens[order], starts, axis=0)
    some = lengths(sums)[:, 0] > 0
    vectors[there[some]] = unit(sums[some])
    return Centroids(vectors, centroids.starts)


def _shares(sizes: Int[np.ndarray, " groups"], count: int) -> Int[np.ndarray, " groups"]:
    """How many of `count` centroids each group has: by its size, at least one of what has any."""
    wanted = sizes * (count / sizes.sum())
    shares = np.minimum(np.maximum(np.floor(wanted).astype(np.int64), sizes > 0), sizes)
    for group in np.argsort(shares - wanted, kind="stable"):
        shares[group] += shares.sum() < count and shares[group] < sizes[group]
    return shares


def _members(
    probed: Int[np.ndarray, "tokens probes"], groups: int
) -> Iterator[tuple[int, Int[np.ndarray, " rows"]]]:
    """The rows that probe each group."""
    rows = np.repeat(np.arange(len(probed)), probed.shape[1])
    order = np.argsort(probed.ravel(), kind="stable")
    bounds = np.searchsorted(probed.ravel()[order], np.arange(groups + 1))
    for group in range(groups):
        if bounds[group] < bounds[group + 1]:
            yield group, rows[order[bounds[group] : bounds[group + 1]]]
