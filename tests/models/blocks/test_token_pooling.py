"""Token pooling: the authors' own clusters, and Ward's rule written out."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tamis.models.blocks.similarity import unit
from tamis.models.blocks.token_pooling import flat, token_pooling, ward


def grouped(clusters: np.ndarray) -> dict[str, list[int]]:
    return {str(c): np.flatnonzero(clusters == c).tolist() for c in range(clusters.max() + 1)}


@pytest.mark.parametrize("case", golden_cases("colpali_token_pooling"))
def test_clusters_and_vectors_are_the_authors(case: Path) -> None:
    config = json.loads((case / "config.json").read_text())
    given, expected = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    members = json.loads((case / "outputs.json").read_text())
    for document in config["documents"]:
        for factor in config["pool_factors"]:
            pooled, clusters = token_pooling(given[document], factor)
            key = f"{document}.pf{factor}"
            assert pooled.shape == expected[key].shape
            assert np.abs(pooled - expected[key]).max() <= 1e-6
            if factor > 1:
                kept = {c: tokens for c, tokens in members[key].items() if tokens}
                assert list(grouped(clusters).values()) == list(kept.values())


@pytest.mark.parametrize("case", golden_cases("colpali_token_pooling"))
def test_a_documents_padding_is_no_part_of_it(case: Path) -> None:
    given, expected = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    for name, batch in given.items():
        if not name.startswith("padded"):
            continue
        for key in (key for key in expected if key.startswith(f"{name}.pf")):
            for document, wanted in zip(batch, expected[key], strict=True):
                real = document[np.abs(document).sum(axis=1) > 0]
                pooled, _ = token_pooling(real, int(key.rpartition("pf")[2]))
                assert np.abs(pooled - wanted[np.abs(wanted).sum(axis=1) > 0]).max() <= 1e-6


def naive(points: np.ndarray) -> list[float]:
    """The heights of Ward's tree: at each step, every pair is tried."""
    clusters = [[i] for i in range(len(points))]
    heights = []

    def cost(one: list[int], other: list[int]) -> float:
        gap = points[one].mean(axis=0) - points[other].mean(axis=0)
        return float(2 * len(one) * len(other) / (len(one) + len(other)) * (gap @ gap))

    while len(clusters) > 1:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i)]
        i, j = min(pairs, key=lambda pair: cost(clusters[pair[0]], clusters[pair[1]]))
        heights.append(cost(clusters[i], clusters[j]) ** 0.5)
        clusters[j] += clusters.pop(i)
    return heights


@given(st.integers(2, 14), st.integers(0, 999))
def test_each_union_adds_the_least_variance(count: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    pairs, heights = ward(points)
    assert heights == pytest.approx(naive(points))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert sorted(pairs.ravel().tolist()) == list(range(2 * count - 2))


@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 99))
def test_there_are_as_many_vectors_as_the_factor_says(count: int, factor: int, seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(count, 5))).astype(np.float32)
    pooled, clusters = token_pooling(vectors, factor)
    assert len(pooled) == max(count // factor, 1)
    assert np.linalg.norm(pooled, axis=1) == pytest.approx(np.ones(len(pooled)), abs=1e-5)
    for cluster, mean in enumerate(pooled):
        own = vectors[clusters == cluster].mean(axis=0)
        assert mean == pytest.approx(own / np.linalg.norm(own), abs=1e-4)


def test_equal_tokens_become_one_vector(rng: np.random.Generator) -> None:
    kinds = unit(rng.normal(size=(3, 6))).astype(np.float32)
    pooled, clusters = token_pooling(kinds[np.arange(30) % 3], 2)
    assert len(pooled) == 3
    assert sorted(map(len, grouped(clusters).values())) == [10, 10, 10]


def test_a_tree_is_cut_where_it_leaves_at_most_so_many() -> None:
    pairs = np.array([[0, 1], [2, 3], [4, 5]])
    clusters = flat(pairs, np.array([1.0, 1.0, 3.0]), most=3)
    assert clusters.tolist() == [0, 0, 1, 1]  # both unions have one height


@pytest.mark.parametrize("count", [0, 1])
def test_what_cannot_be_pooled_stays(count: int) -> None:
    vectors = np.ones((count, 4), dtype=np.float32)
    pooled, clusters = token_pooling(vectors, 3)
    assert pooled is vectors
    assert len(clusters) == count
