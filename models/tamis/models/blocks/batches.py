"""Groups what a model reads together."""

import numpy as np
from jaxtyping import Int

SLACK = 8  # of padding, which costs less than a batch of its own


def alike(lengths: Int[np.ndarray, " n"], *, room: int) -> list[Int[np.ndarray, " group"]]:
    """The indices in groups of like length, so that little is padded.

    In a group the longest is at most a quarter, or 8, longer than the shortest.

    Args:
        lengths: Of what is grouped.
        room: What a group may come to, padding included; one alone may exceed it.
    """
    groups: list[list[int]] = []
    shortest = 0
    for i in map(int, np.argsort(lengths, kind="stable")):
        length = int(lengths[i])
        if (
            groups
            and length <= max(shortest * 5 // 4, shortest + SLACK)
            and length * (len(groups[-1]) + 1) <= room
        ):
            groups[-1].append(i)
        else:
            groups.append([i])
            shortest = length
    return [np.array(group) for group in groups]
