"""How many visual tokens each layer of a language model keeps."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

STEPS = 60  # halvings of an interval: beyond what a float tells apart


def changes(rates: Sequence[float]) -> tuple[int, ...]:
    """The layers before which tokens go: those that keep a smaller share than the one before.

    The first layer reads all, whatever its share: nothing is known of the tokens before it.
    """
    steps = pairwise((1.0, *rates[1:]))
    return tuple(layer for layer, (before, own) in enumerate(steps, 1) if own < before)


def check(rates: Sequence[float]) -> None:
    """Refuses shares that rise with depth, or are none.

    Raises:
        ValueError: They do, or are.
    """
    if not rates or not all(0 < rate <= 1 for rate in rates):
        raise ValueError(f"rates must be above 0 and at most 1, not {list(rates)}")
    if any(later > sooner for sooner, later in pairwise(rates)):
        raise ValueError(f"rates must not rise with the layers: {list(rates)}")


def greedy(
    metric: Callable[[tuple[float, ...]], float],
    layers: int,
    grid: Sequence[float],
    *,
    tolerance: float = 0.01,
) -> tuple[float, ...]:
    """The smallest share for each layer, shallow ones first, at hardly any loss.

    Each layer is given the smallest share of the grid, no larger than that of the layer before,
    with which the metric stays within `tolerance` of that of all tokens, the deeper layers keeping
    the same share. Where fewer tokens never help, nothing smaller would do.

    Args:
        metric: How good a schedule is, on a small calibration set.
        layers: Of the language model.
        grid: Shares to choose from; 1 is one of them.
        tolerance: The loss that is allowed, as a share of the metric of all tokens.
    """
    enough = (1 - tolerance) * metric((1.0,) * layers)
    rates: list[float] = [1.0]  # before the first layer nothing is known of the tokens
    for layer in range(1, layers):
        choices = sorted(rate for rate in {*grid, 1.0} if rate <= rates[-1])
        low, high = 0, len(choices) - 1  # the last one is the layer before's, and does
        while low < high:
            middle = (low + high) // 2
            tried = (*rates, *[choices[middle]] * (layers - layer))
            low, high = (low, middle) if metric(tried) >= enough else (middle + 1, high)
        rates.append(choices[low])
    return tuple(rates)


def sigmoid_rates(
    layers: int, budget: float, *, top: float, bottom: float, steepness: float
) -> tuple[float, ...]:
    """Shares that fall with depth along a sigmoid, and are `budget` on average.

    The fall's place is found by halving; where no place meets the budget, the nearest is taken.

    Args:
        layers: Of the language model.
        budget: The mean share.
        top: The share far above the fall.
        bottom: The share far below it.
        steepness: Of the fall, over the whole depth.
    """

    def at(place: float) -> Float[np.ndarray, " layers"]:
        depth = np.arange(layers) / layers
        return bottom + (top - bottom) / (1 + np.exp(np.clip(steepness * (depth - place), -60, 60)))

    low, high = -2.0, 3.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).mean() < budget else (low, middle)
    return tuple(float(rate) for rate in at((low + high) / 2))
