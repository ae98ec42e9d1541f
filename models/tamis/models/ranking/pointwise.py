"""Each candidate by itself, the first stage's best first."""

import math

import numpy as np

from tamis.models.blocks.topk import top_k
from tamis.models.ranking import Plan, Step


def pointwise(count: int, *, at_once: int | None = None) -> Plan[float]:
    """Orders by score; those without one follow in the first stage's order.

    Args:
        count: Candidates.
        at_once: Jobs of one layer; None for all of them, where there is no reason to look up.
    """
    scores = np.full(count, -math.inf)
    size = at_once or max(count, 1)
    for first in range(0, count, size):
        places = range(first, min(first + size, count))
        answers = yield Step(tuple((place,) for place in places), *_ranked(scores))
        for place, answer in zip(places, answers, strict=True):
            if answer is not None and not math.isnan(answer):
                scores[place] = answer
    order, _, sorted_scores = _ranked(scores)
    yield Step((), order, range(count), sorted_scores)


def _ranked(scores: np.ndarray) -> tuple[tuple[int, ...], range, tuple[float, ...]]:
    order = top_k(scores, len(scores))
    return tuple(order.tolist()), range(0), tuple(scores[order].tolist())
