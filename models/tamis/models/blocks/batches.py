"""Groups what a model reads together."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

MOST = 32  # of a group; engines are built for as many
PAIRS = 256  # of a run, where a pair is two short rows of vectors
ROOM = 8192  # tokens that one run reads, which bounds its memory
SLACK = 8  # of padding, which costs less than a batch of its own


def alike(lengths: Int[np.ndarray, " n"], *, room: int) -> list[Int[np.ndarray, " group"]]:
    """The indices in groups of like length, so that little is padded.

    In a group the longest is at most a quarter, or 8, longer than the shortest, and there are at
    most `MOST`.

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
            and len(groups[-1]) < MOST
            and length * (len(groups[-1]) + 1) <= room
        ):
            groups[-1].append(i)
        else:
            groups.append([i])
            shortest = length
    return [np.array(group) for group in groups]


def padded(
    rows: Sequence[Sequence[int]], *, side: Literal["left", "right"] = "right"
) -> tuple[Int[np.ndarray, "rows longest"], Int[np.ndarray, "rows longest"]]:
    """Rows as one batch, filled with 0 on one side, and a mask that is 1 where they are."""
    shape = (len(rows), max(map(len, rows), default=0))
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(shape[1] - len(row), None)
        ids[i, place], mask[i, place] = list(row), 1
    return ids, mask
