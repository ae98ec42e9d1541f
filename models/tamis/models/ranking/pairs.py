"""Pairs of candidates: a language model is asked which of two answers the query better.

A job (a, b) shows candidate a first, and its answer is the probability that a is the better one.
Models favour a position, so a comparison is two jobs, one in each order, and it is won only where
both agree: anything else is a tie.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

from tamis.models.ranking import Job, Plan, Step, best_first

Pair = tuple[int, int]
Sift = Generator[Pair, bool, None]  # asks whether the first of a pair goes before the second


def won(first: float | None, second: float | None) -> int:
    """Who wins a comparison: 1 for a, -1 for b, 0 for a tie.

    Args:
        first: The answer when a is shown first: the probability that a is better.
        second: The answer when b is shown first: the probability that b is better.
    """
    if first is None or second is None:
        return 0
    if first > 0.5 > second:
        return 1
    return -1 if first < 0.5 < second else 0


def share(answer: float | None) -> float:
    """The probability as it is; a half where there is none."""
    return answer if answer is not None and 0 <= answer <= 1 else 0.5


def all_pair(count: int, *, both_ways: bool = True) -> Plan[float]:
    """Everybody meets everybody, in rounds in which nobody plays twice.

    Args:
        count: Candidates.
        both_ways: Whether a pair is shown in both orders: then a win is a point and a tie half a
            point, for `count * (count - 1)` jobs. Otherwise the better placed is shown first, its
            probability is its points and the rest the other's, for half of the jobs (duoT5).
    """
    points, played = [0.0] * count, [0] * count
    for games in _rounds(count):
        jobs = _both_ways(games) if both_ways else tuple(games)
        answers = yield Step(jobs, *_table(points, played))
        gains = [share(answer) for answer in answers]
        if both_ways:
            pairs = zip(answers[::2], answers[1::2], strict=True)
            gains = [(1 + won(first, second)) / 2 for first, second in pairs]
        for (a, b), gain in zip(games, gains, strict=True):
            points[a] += gain
            points[b] += 1 - gain
            played[a] += 1
            played[b] += 1
    order, _, scores = _table(points, played)
    yield Step((), order, range(count), scores)


def bubbles(count: int, passes: int) -> Plan[float]:
    """`passes` bubble passes from the bottom; neighbours change places if the lower one wins.

    A pass follows the one before it at a distance of two ranks, so that their comparisons do not
    touch and are asked about together. A pair that meets again is not asked about again.
    """
    order, known = list(range(count)), dict[Pair, int]()
    settled = range(count, count)
    for time in range(count - 1 + 2 * (passes - 1) if passes and count > 1 else 0):
        uppers = [count - 2 - time + 2 * number for number in range(passes)]
        games = [(order[i], order[i + 1]) for i in uppers if 0 <= i < count - 1]
        yield from _learn(games, known, lambda: tuple(order), settled)
        for i in uppers:
            if 0 <= i < count - 1 and known[order[i], order[i + 1]] < 0:
                order[i], order[i + 1] = order[i + 1], order[i]
        settled = range(min(max(uppers[-1] + 1, 0), count), count)
    yield Step((), tuple(order), range(count))


def heapsort(count: int, top: int | None = None) -> Plan[float]:
    """Takes the best from a heap, one by one; the first stage's order decides ties.

    The heap is built level by level, whose comparisons are asked about together. No pair is asked
    about twice.

    Args:
        count: Candidates.
        top: How many are taken; None for all. The others follow in the first stage's order.
    """
    heap, taken, known = list(range(count)), list[int](), dict[Pair, int]()

    def standing(rising: int | None = None) -> tuple[int, ...]:
        """The one that came up from the bottom counts as the last until its place is known."""
        rest = (place for place in heap if place != rising)
        return (*taken, *rest, *([] if rising is None else [rising]))

    for level in reversed(range(max(count // 2, 0).bit_length())):
        roots = range(2**level - 1, min(2 ** (level + 1) - 1, count // 2))
        yield from _side_by_side([_sift(heap, root) for root in roots], known, standing, range(0))
    while heap and len(taken) < (count if top is None else top):
        taken.append(heap[0])
        last = heap.pop()
        if heap:
            heap[0] = last
            sift = [_sift(heap, 0)]
            yield from _side_by_side(sift, known, partial(standing, last), range(len(taken)))
    yield Step((), (*taken, *sorted(heap)), range(count))


def _rounds(count: int) -> Iterator[list[Pair]]:
    """Every pair once, the better placed first, in rounds in which nobody is twice.

    One stays and the others walk in a circle; who meets the empty chair of an odd number is out.
    """
    chairs: list[int | None] = [*range(count), *([None] if count % 2 else [])]
    for _ in range(len(chairs) - 1):
        facing = zip(chairs[: len(chairs) // 2], reversed(chairs), strict=False)
        games = [(min(a, b), max(a, b)) for a, b in facing if a is not None and b is not None]
        if games:
            yield sorted(games)
        chairs[1:] = [chairs[-1], *chairs[1:-1]]


def _table(
    points: Sequence[float], played: Sequence[int]
) -> tuple[tuple[int, ...], range, tuple[float, ...]]:
    """Order and scores on the way: a game that is still to be played counts as a tie."""
    rest = len(points) - 1
    scores = [own + (rest - games) / 2 for own, games in zip(points, played, strict=True)]
    order = best_first(scores)
    return order, range(0), tuple(scores[i] for i in order)


def _both_ways(games: Sequence[Pair]) -> tuple[Job, ...]:
    return tuple(job for a, b in games for job in ((a, b), (b, a)))


def _learn(
    games: Sequence[Pair],
    known: dict[Pair, int],
    standing: Callable[[], tuple[int, ...]],
    settled: range,
) -> Plan[float]:
    """Asks about the games that are not known."""
    new = [game for game in games if game not in known]
    if new:
        answers = yield Step(_both_ways(new), standing(), settled)
        for (a, b), first, second in zip(new, answers[::2], answers[1::2], strict=True):
            known[a, b] = won(first, second)
            known[b, a] = -known[a, b]


def _sift(heap: list[int], root: int) -> Sift:
    """Lets the one at `root` sink until both that are below it come after it."""
    while (child := 2 * root + 1) < len(heap):
        if child + 1 < len(heap) and (yield heap[child + 1], heap[child]):
            child += 1
        if not (yield heap[child], heap[root]):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


def _side_by_side(
    sifts: Sequence[Sift],
    known: dict[Pair, int],
    standing: Callable[[], tuple[int, ...]],
    settled: range,
) -> Plan[float]:
    """Runs sifts that do not touch each other in step, so that they are asked about together."""
    waiting = {sift: next(sift, None) for sift in sifts}
    while games := [game for game in waiting.values() if game is not None]:
        yield from _learn(games, known, standing, settled)
        for sift, game in waiting.items():
            if game is not None:
                before = known[game] > 0 or (known[game] == 0 and game[0] < game[1])
                try:
                    waiting[sift] = sift.send(before)
                except StopIteration:
                    waiting[sift] = None
