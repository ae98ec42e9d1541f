"""RankGPT's sliding window: a listwise model orders a few candidates at a time, bottom up."""

from collections.abc import Iterator, Sequence

from tamis.models.blocks.permutations import repaired
from tamis.models.ranking import Plan, Step


def windows(
    count: int, *, size: int = 20, step: int = 10, clamped: bool = True
) -> Iterator[tuple[int, int]]:
    """First and last-but-one rank of each window, in the order in which they are read.

    Args:
        count: Candidates.
        size: Ranks of one window.
        step: How far the next one is above it.
        clamped: Whether the last window is shortened to begin at the top. RankGPT's own code leaves
            out a window that would not fit: then the head of most lists is never read.
    """
    start, end = count - (min(size, count) if clamped else size), count
    while end > 0 and (clamped or start >= 0):
        yield max(start, 0), end
        if start <= 0:
            break
        start, end = start - step, end - step


def sliding_windows(
    count: int, *, size: int = 20, step: int = 10, clamped: bool = True
) -> Plan[Sequence[int]]:
    """Orders window after window, so that what is best of the lower ones rises to the top.

    An answer is the places within the window, best first; what is wrong with it is repaired.
    """
    if not 1 <= step <= size or size < 2:
        raise ValueError(f"needs 1 <= step <= size and size >= 2, not step {step}, size {size}")
    order = list(range(count))
    read = list(windows(count, size=size, step=step, clamped=clamped))
    settled = range(count, count)
    for number, (start, end) in enumerate(read):
        if end - start > 1:
            window = tuple(order[start:end])
            (answer,) = yield Step((window,), tuple(order), settled)
            order[start:end] = [window[i] for i in repaired(answer or (), len(window))]
        following = read[number + 1][1] if number + 1 < len(read) else 0
        settled = range(following, count)
    yield Step((), tuple(order), range(count))
