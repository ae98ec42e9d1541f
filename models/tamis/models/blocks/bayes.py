"""Bayesian optimisation of a costly function of a few numbers."""

from collections.abc import Callable, Sequence
from math import erf, pi, sqrt

import numpy as np
from jaxtyping import Float

SCALE = 0.3  # the kernel's, in units of the box
NOISE = 1e-4  # of the function, as a share of its variance
DRAWS = 512  # candidates that each round looks at


def maximise(
    function: Callable[[Float[np.ndarray, " dim"]], float],
    bounds: Sequence[tuple[float, float]],
    *,
    rounds: int,
    first: int = 5,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " dim"], float]:
    """The best point found, and its value.

    After `first` random points each round asks for the one of the highest expected improvement
    under a Gaussian process with a Matern-5/2 kernel.

    Args:
        function: What to maximise; it is asked `rounds` times in all.
        bounds: The lowest and the highest value of each number.
        rounds: How often it may be asked.
        first: How many of those are random.
        seed: Of what is random.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array(bounds, dtype=float).T
    points: Float[np.ndarray, "n dim"] = rng.random((min(first, rounds), len(bounds)))
    values = [function(low + point * (high - low)) for point in points]
    while len(values) < rounds:
        draws = rng.random((DRAWS, len(bounds)))
        new = draws[expected_improvement(points, np.array(values), draws).argmax()]
        points = np.vstack([points, new])
        values.append(function(low + new * (high - low)))
    best = int(np.argmax(values))
    return low + points[best] * (high - low), values[best]


def expected_improvement(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    draws: Float[np.ndarray, "m dim"],
) -> Float[np.ndarray, " m"]:
    """By how much each draw is expected to exceed the best value so far."""
    spread = values.std() or 1.0
    scaled = (values - values.mean()) / spread
    factor = np.linalg.cholesky(matern(points, points) + NOISE * np.eye(len(points)))
    across = np.linalg.solve(factor, matern(points, draws))
    mean = across.T @ np.linalg.solve(factor, scaled)
    deviation = np.sqrt(np.maximum(1 - (across**2).sum(axis=0), 1e-12))
    gain = mean - scaled.max()
    z = gain / deviation
    below = 0.5 * (1 + np.vectorize(erf)(z / sqrt(2)))
    density = np.exp(-(z**2) / 2) / sqrt(2 * pi)
    improvement: Float[np.ndarray, " m"] = spread * (gain * below + deviation * density)
    return improvement


def matern(
    left: Float[np.ndarray, "n dim"], right: Float[np.ndarray, "m dim"]
) -> Float[np.ndarray, "n m"]:
    """The Matern-5/2 kernel."""
    distance = np.linalg.norm(left[:, None] - right[None], axis=-1) * sqrt(5) / SCALE
    return (1 + distance + distance**2 / 3) * np.exp(-distance)
