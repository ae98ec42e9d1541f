"""PageRank, against networkx's values and a walk step by step."""

import numpy as np
import pytest

from tamis.models.blocks.pagerank import pagerank


def walked(weights: np.ndarray, prior: np.ndarray, damping: float) -> np.ndarray:
    """Power iteration, node by node."""
    count, jump = len(prior), prior / prior.sum()
    ranks = np.full(count, 1 / count)
    for _ in range(300):
        following = (1 - damping) * jump
        for node in range(count):
            out = weights[node].sum()
            share = weights[node] / out if out else jump
            following = following + damping * ranks[node] * share
        ranks = following
    return ranks


def test_it_agrees_with_networkx() -> None:
    """`networkx.pagerank` 3.6.1, tol=1e-14."""
    weights = [
        [0.0, 0.9, 0.3, 0.0, 0.0],
        [0.1, 0.0, 0.8, 0.4, 0.0],
        [0.7, 0.2, 0.0, 0.6, 0.0],
        [0.0, 0.6, 0.4, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    expected = [0.1906933764, 0.3001629595, 0.2976398399, 0.2009031176, 0.0106007067]
    assert pagerank(np.array(weights), np.array([5.0, 4, 3, 2, 1])) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("damping", [0.5, 0.85])
def test_it_is_where_a_walk_ends(count: int, damping: float, rng: np.random.Generator) -> None:
    weights = rng.random((count, count)) * (rng.random((count, count)) < 0.3)
    weights[0] = 0.0  # a node that leads nowhere
    prior = rng.random(count)
    ranks = pagerank(weights, prior, damping=damping)
    assert ranks == pytest.approx(walked(weights, prior, damping), abs=1e-9)
    assert ranks.sum() == pytest.approx(1.0)


def test_a_prior_that_says_nothing_is_even() -> None:
    even = pagerank(np.ones((3, 3)), np.ones(3))
    for prior in ([0.0, 0.0, 0.0], [-1.0, np.nan, -np.inf]):
        assert pagerank(np.ones((3, 3)), np.array(prior)) == pytest.approx(even)


def test_no_nodes_have_no_ranks() -> None:
    assert pagerank(np.zeros((0, 0)), np.zeros(0)).shape == (0,)
