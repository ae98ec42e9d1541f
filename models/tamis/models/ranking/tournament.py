"""ListT5's tournament: small groups, whose best meet in further groups until one is left."""

from collections.abc import Iterable, Iterator, Sequence

from tamis.models.blocks.permutations import repaired
from tamis.models.ranking import Job, Plan, Step

Group = tuple[int, ...]
STRIDE = 21  # how far from the last of a group ListT5 looks for something that fills it up


def tournament(count: int, *, size: int = 5, keep: int = 2, top: int = 10) -> Plan[Sequence[int]]:
    """Finds the `top` best, one by one; the others follow in the first stage's order.

    The groups of the first round are asked about at once. A winner leaves its group, and only the
    groups on its way to the top are asked about again: answers are remembered by who was shown.

    Args:
        count: Candidates.
        size: Candidates that one prompt shows. Smaller groups are filled up with others, whose
            ranks do not count, because the model knows no other size.
        keep: How many of a group go on to the next round.
        top: How many are looked for.
    """
    if not 1 <= keep < size:
        raise ValueError(f"needs 1 <= keep < size, not keep {keep}, size {size}")
    known: dict[frozenset[int], Group] = {}
    winners: list[int] = []
    rounds: list[list[Group]] = []
    while len(winners) < min(top, count):
        groups = _split((i for i in range(count)), size)
        groups = [tuple(i for i in group if i not in winners) for group in groups]
        rounds = [[group for group in groups if group]]
        while True:
            final = len(rounds[-1]) == 1
            needed = {
                frozenset(group): group
                for group in rounds[-1]
                if len(group) > (1 if final else keep) and frozenset(group) not in known
            }
            if needed:
                jobs = tuple(_filled(group, size, count) for group in needed.values())
                order = _standing(winners, rounds, count)
                answers = yield Step(jobs, order, range(len(winners)))
                for members, job, answer in zip(needed, jobs, answers, strict=True):
                    ranked = (job[i] for i in repaired(answer or (), len(job)))
                    known[members] = tuple(place for place in ranked if place in members)
            ranked_groups = [known.get(frozenset(group), group) for group in rounds[-1]]
            if final:
                winners.append(ranked_groups[0][0])
                break
            rounds.append(_split((i for group in ranked_groups for i in group[:keep]), size))
    rest = (i for i in range(count) if i not in winners)
    yield Step((), (*winners, *rest), range(count))


def _split(places: Iterable[int], size: int) -> list[Group]:
    members = tuple(places)
    return [members[i : i + size] for i in range(0, len(members), size)]


def _filled(group: Group, size: int, count: int) -> Job:
    """The group and as many others as make it full, where there are so many."""
    return group + tuple(_others(group, count))[: size - len(group)]


def _others(group: Group, count: int) -> Iterator[int]:
    first = group[-1] + STRIDE
    yield from (i % count for i in range(first, first + count) if i % count not in group)


def _standing(winners: Sequence[int], rounds: Sequence[Sequence[Group]], count: int) -> Group:
    """The winners, and the others by the rounds that they have reached."""
    reached = {i: number for number, groups in enumerate(rounds) for group in groups for i in group}
    rest = (i for i in range(count) if i not in winners)
    return (*winners, *sorted(rest, key=lambda i: -reached.get(i, 0)))
