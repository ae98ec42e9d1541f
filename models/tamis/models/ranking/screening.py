"""CREAM's screening: groups are ordered, their best are mixed and meet in new groups."""

from collections.abc import Sequence

from tamis.models.blocks.permutations import repaired
from tamis.models.ranking import Plan, Step


def screening(count: int, *, size: int = 8, keep: int = 5, fewer: int = 2) -> Plan[Sequence[int]]:
    """Rounds of groups, of which fewer and fewer go on, until one group is left or none would.

    The mixing is a dealing out, not the authors' shuffle, so that equal searches rank alike: the
    best of each group meet the best of the others. Those that are dropped follow, the later the
    better placed; within a round they keep their order.

    Args:
        count: Candidates.
        size: Candidates that one prompt shows.
        keep: How many of a group go on from the first round.
        fewer: How many less from each further one.
    """
    if size < 2 or not 1 <= keep < size or fewer < 1:
        raise ValueError(f"needs 1 <= keep < size and fewer >= 1, not {keep}, {size}, {fewer}")
    left, dropped = list(range(count)), list[int]()
    while len(left) > 1:
        groups = [tuple(left[i : i + size]) for i in range(0, len(left), size)]
        answers = yield Step(tuple(groups), (*left, *dropped), range(len(left), count))
        pairs = zip(groups, answers, strict=True)
        ranked = [[group[i] for i in repaired(answer or (), len(group))] for group, answer in pairs]
        if len(groups) == 1:
            left = ranked[0]
            break
        kept = set().union(*(group[:keep] for group in ranked))
        places = [(place, group) for group in ranked for place in enumerate(group)]
        dealt = [one for (_, one), _ in sorted(places, key=lambda found: found[0][0])]
        dropped = [*(one for one in dealt if one not in kept), *dropped]
        left = [one for one in dealt if one in kept]
        keep -= fewer
        if keep < 1 and len(left) > size:
            break
        keep = max(keep, 1)
    yield Step((), (*left, *dropped), range(count))
