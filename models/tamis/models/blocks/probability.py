"""From logits and log-probabilities to scores."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def log_softmax(logits: Float[np.ndarray, "*n classes"]) -> Float[np.ndarray, "*n classes"]:
    """Log-probabilities over the last axis, in float64."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def first_of_two(logits: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The probability of the first of two classes. NaN where neither is known (both are -inf)."""
    wide = logits.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return 1 / (1 + np.exp(wide[:, 1] - wide[:, 0]))


def mean_of_spans(spans: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " spans"]:
    """The mean of each span's log-probabilities; an empty span tells nothing: 0."""
    return np.array([own.mean(dtype=np.float64) if len(own) else 0.0 for own in spans])
