"""The baseline that knows nothing."""

import numpy as np

from tamis.models.refiners.random import Random
from tamis.models.types import VisualTokens


def image(seed: int) -> VisualTokens:
    embeddings = np.random.default_rng(seed).normal(size=(12, 2)).astype(np.float32)
    return VisualTokens(embeddings, np.full(12, 1 / 12), np.arange(12), (3, 4))


def test_one_image_is_always_refined_to_the_same_tokens() -> None:
    first, again = (Random(budget=4).refine(image(0)).positions for _ in range(2))
    assert np.array_equal(first, again)


def test_another_image_or_seed_draws_other_tokens() -> None:
    drawn = [
        Random(budget=4, seed=s).refine(image(i)).positions for s, i in [(0, 0), (1, 0), (0, 1)]
    ]
    assert len({tuple(positions.tolist()) for positions in drawn}) == 3


def test_each_token_is_kept_equally_often() -> None:
    """400 draws of 3 of 12: a count is binomial, 100 on average with a deviation of 8.7."""
    counts = np.zeros(12, dtype=int)
    for seed in range(400):
        counts[Random(budget=3).refine(image(seed)).positions] += 1
    assert counts.sum() == 1200
    assert (np.abs(counts - 100) < 4 * 8.7).all()
