"""Spherical k-means, and what is found through its centroids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.centroids import (
    ALL_AT_ONCE,
    FEWEST,
    MOST,
    Centroids,
    advised_count,
    train,
)
from tamis.models.blocks.similarity import unit


def clustered(
    rng: np.random.Generator, kinds: int, tokens: int, noise: float = 0.3, dim: int = 32
) -> np.ndarray:
    """Unit vectors around as many directions."""
    directions = unit(rng.normal(size=(kinds, dim)))
    own = directions[rng.integers(kinds, size=tokens)]
    noisy = own + rng.normal(size=own.shape) * noise / np.sqrt(dim)
    return unit(noisy).astype(np.float32)


@pytest.mark.parametrize(
    ("tokens", "count"), [(0, FEWEST), (1_000, 128), (1_500_000, 4_096), (25_600_000, MOST)]
)
def test_more_tokens_have_more_centroids_up_to_a_limit(tokens: int, count: int) -> None:
    assert advised_count(tokens) == count


@pytest.mark.parametrize("count", [64, ALL_AT_ONCE + 88])
def test_training_gives_so_many_vectors_of_length_1(rng: np.random.Generator, count: int) -> None:
    centroids = train(clustered(rng, 900, 12_000), count)
    assert centroids.vectors.shape == (count, 32)
    assert np.allclose(np.linalg.norm(centroids.vectors, axis=1), 1, atol=1e-5)
    assert centroids.starts[0] == 0
    assert centroids.starts[-1] == count
    assert (np.diff(centroids.starts) > 0).all()


def test_each_cluster_of_the_data_has_its_centroid(rng: np.random.Generator) -> None:
    tokens = clustered(rng, 20, 4_000, noise=0.1)
    assert train(tokens, 80).similarity(tokens) > 0.99


def test_training_twice_gives_the_same(rng: np.random.Generator) -> None:
    tokens = clustered(rng, 100, 8_000)
    once, again = train(tokens, 600, seed=3), train(tokens, 600, seed=3, threads=2)
    assert np.allclose(once.vectors, again.vectors, atol=1e-6)


def test_fewer_tokens_than_centroids_are_centroids_themselves(rng: np.random.Generator) -> None:
    tokens = unit(rng.normal(size=(10, 8)))
    assert train(tokens, 64).similarity(tokens) == pytest.approx(1, abs=1e-6)


def test_equal_tokens_are_no_trouble() -> None:
    centroids = train(np.ones((700, 8), dtype=np.float32), 600)
    assert np.isfinite(centroids.vectors).all()
    assert set(centroids.nearest(np.ones((3, 8), dtype=np.float32))) <= set(range(600))


def test_groups_hardly_lose_what_comparing_with_all_finds(rng: np.random.Generator) -> None:
    tokens = clustered(rng, 1_000, 30_000)
    centroids = train(tokens, 1_024)
    assert len(centroids.starts) > 8
    similar = tokens[:2_000] @ centroids.vectors.T
    found = similar[np.arange(2_000), centroids.nearest(tokens[:2_000])]
    assert (found == similar.max(axis=1)).mean() > 0.9
    assert found.mean() > 0.99 * similar.max(axis=1).mean()


def test_similarity_falls_when_what_comes_is_unlike_the_sample(rng: np.random.Generator) -> None:
    tokens = clustered(rng, 50, 5_000)
    centroids = train(tokens[:4_000], 128)
    same, other = (
        centroids.similarity(tokens[4_000:]),
        centroids.similarity(clustered(rng, 50, 1_000)),
    )
    assert same > 0.9 > 0.7 > other


def test_a_document_is_on_the_list_of_each_of_its_centroids_once(
    rng: np.random.Generator,
) -> None:
    tokens = clustered(rng, 50, 3_000)
    centroids = train(tokens, 64)
    other, terms = centroids.terms([tokens[40:50], tokens[:40]])
    assert set(other.indices) == set(centroids.nearest(tokens[40:50]))
    assert set(terms.indices) == set(centroids.nearest(tokens[:40]))
    assert (np.diff(terms.indices) > 0).all()
    assert (terms.values == 1).all()


def test_a_document_without_tokens_is_on_no_list(rng: np.random.Generator) -> None:
    centroids = train(clustered(rng, 5, 100), 16)
    none, some = centroids.terms([np.empty((0, 32), dtype=np.float32), centroids.vectors[:3]])
    assert none.indices.tolist() == []
    assert some.indices.tolist() == [0, 1, 2]
    assert centroids.terms([]) == []


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_weights_are_the_sum_of_what_each_token_gives_its_nearest(
    probes: int, tokens: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    centroids = Centroids(unit(rng.normal(size=(20, 8))).astype(np.float32), np.array([0, 20]))
    query = rng.normal(size=(tokens, 8)).astype(np.float32)
    expected = np.zeros(20)
    for token in query:
        similar = centroids.vectors @ token
        probed = np.argsort(-similar)[:probes]
        expected[probed] += similar[probed] - 0.9 * similar[probed].min()
    weights = centroids.weights(query, probes)
    assert np.allclose(weights.values, expected[weights.indices], atol=1e-5)
    assert len(weights.indices) >= min(probes, 20)


def test_the_lists_promise_what_late_interaction_finds(rng: np.random.Generator) -> None:
    """Of 500 documents, the ten best by exact MaxSim are among the 60 that promise most."""
    topics = unit(rng.normal(size=(200, 32)))
    documents = [clustered_around(topics[rng.choice(200, 12)], rng) for _ in range(500)]
    centroids = train(np.concatenate(documents), 256)
    terms = [set(own.indices) for own in centroids.terms(documents)]
    found = []
    for target in rng.choice(500, 20, replace=False):
        query = clustered_around(documents[target][:8], rng)
        exact = [float((query @ document.T).max(axis=1).sum()) for document in documents]
        weights = centroids.weights(query, 4)
        worth = dict(zip(weights.indices, weights.values, strict=True))
        promised = [sum(worth.get(term, 0.0) for term in own) for own in terms]
        best, candidates = np.argsort(exact)[-10:], np.argsort(promised)[-60:]
        found.append(len(set(best) & set(candidates)) / 10)
    assert np.mean(found) >= 0.9


def clustered_around(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=vectors.shape) * 0.3 / np.sqrt(vectors.shape[1])
    return unit(vectors + noise).astype(np.float32)
