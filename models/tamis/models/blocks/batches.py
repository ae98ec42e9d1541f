"""Groups what a model reads together."""

import numpy as np
from jaxtyping import Int

SLACK = 8  # tokens of padding that cost less than a batch of their own


def alike(lengths: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " group"]]:
    """The indices in groups of similar length, so that little is padded.

    In a group the longest is at most a quarter, or 8, longer than the shortest.
    """
    order = np.argsort(lengths, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if groups and lengths[i] <= max(
            lengths[groups[-1][0]] * 5 // 4, lengths[groups[-1][0]] + SLACK
        ):
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return [np.array(group) for group in groups]
