"""Several rankings of documents as one: by their ranks, or by their scores on a common scale.

A ranking is its documents' ids and scores, best first.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev, stdev

Ranking = Sequence[tuple[str, float]]
Scale = Callable[[Sequence[float]], list[float]]


def reciprocal_ranks(rankings: Sequence[Ranking], k: int = 60) -> dict[str, float]:
    """The sum of 1 / (k + rank) over the rankings that have the document; ranks count from 1."""
    fused: dict[str, float] = {}
    for ranking in rankings:
        for rank, (name, _) in enumerate(ranking, 1):
            fused[name] = fused.get(name, 0.0) + 1 / (k + rank)
    return fused


def distribution_based(rankings: Sequence[Ranking]) -> dict[str, float]:
    """The sum of scores, where three deviations about each ranking's mean become 0 to 1."""
    fused: dict[str, float] = {}
    for ranking in rankings:
        scaled = three_deviations([score for _, score in ranking])
        for (name, _), score in zip(ranking, scaled, strict=True):
            fused[name] = fused.get(name, 0.0) + score
    return fused


def weighted_scores(
    rankings: Sequence[Ranking], weights: Sequence[float], scale: Scale
) -> dict[str, float]:
    """The weighted sum of scores on a common scale.

    A document that a ranking lacks gets the least that one in it has: it would come after it.
    """
    fused: dict[str, float] = dict.fromkeys((name for one in rankings for name, _ in one), 0.0)
    for ranking, weight in zip(rankings, weights, strict=True):
        if not ranking:
            continue
        scaled = scale([score for _, score in ranking])
        found: Mapping[str, float] = dict(zip((name for name, _ in ranking), scaled, strict=True))
        least = min(scaled)
        for name in fused:
            fused[name] += weight * found.get(name, least)
    return fused


def min_max(scores: Sequence[float]) -> list[float]:
    """The least becomes 0 and the largest 1; scores that are all equal become 1."""
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def z_score(scores: Sequence[float]) -> list[float]:
    """The mean becomes 0 and the standard deviation 1; scores that are all equal become 0."""
    mean, deviation = fmean(scores), pstdev(scores)
    return [(score - mean) / deviation if deviation > 0 else 0.0 for score in scores]


def three_deviations(scores: Sequence[float]) -> list[float]:
    """Three deviations below the mean become 0, three above it 1; equal scores become 0.5."""
    deviation = stdev(scores) if len(scores) > 1 else 0.0
    if deviation == 0:
        return [0.5] * len(scores)
    low = fmean(scores) - 3 * deviation
    return [(score - low) / (6 * deviation) for score in scores]
