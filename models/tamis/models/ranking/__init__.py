"""Rank plans: what a model is asked about candidates, and what order follows from its answers.

A plan knows the candidates by their places in the first stage's order, 0 the best, and no model.
It asks for layers of jobs that do not depend on one another, so that a model can take them in one
batch, and after each layer it has an order of all candidates. An answer may be None: unreadable, or
not asked because the time was up. Whatever the answers are, the order has every candidate once.

    pointwise   each candidate by itself
    windows     permutations of overlapping windows, from the bottom up (RankGPT)
    tournament  permutations of small groups, the best of which meet again (ListT5)
    pairs       all pairs, a heap, or bubble passes (PRP, duoT5)
    swiss       pairs of neighbours in the standings, and PageRank over their games (PRP-Graph)
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

A = TypeVar("A")

Job = tuple[int, ...]  # the places of the candidates that one prompt shows, in the prompt's order
AT_ONCE = 16  # prompts that a model is given between two looks at the clock


@dataclass(frozen=True, slots=True)
class Step:
    """Where a plan stands.

    Attributes:
        jobs: What it asks next; none at its end.
        order: The places of all candidates, best first.
        settled: The ranks of `order` that no further answer can change.
        scores: One for each rank of `order`, falling; None where the plan has none of its own.
    """

    jobs: tuple[Job, ...]
    order: tuple[int, ...]
    settled: range
    scores: tuple[float, ...] | None = None


Plan = Generator[Step, Sequence[A | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a reranking may cost.

    Attributes:
        max_calls: Prompts that the model may be given; None for as many as the method takes.
        stopped: Whether the time is up or the caller has gone. Asked between a model's batches.
    """

    max_calls: int | None = None
    stopped: Callable[[], bool] = lambda: False


UNBOUNDED = Bounds()


def carry_out(
    plan: Plan[A],
    ask: Callable[[Sequence[Job]], Sequence[A | None]],
    bounds: Bounds = UNBOUNDED,
    *,
    at_once: int = AT_ONCE,
) -> Iterator[Step]:
    """The plan's standing after each layer; the last one has no jobs unless the bounds ended it.

    Args:
        plan: What to ask.
        ask: Answers jobs, in their order.
        bounds: When to stop. A layer that is cut short counts as far as it has come.
        at_once: Jobs in one call of `ask`, at most.
    """
    step, left = next(plan), bounds.max_calls
    if not step.jobs:
        yield step
    while step.jobs:
        jobs = step.jobs[:left]
        answers: list[A | None] = []
        for first in range(0, len(jobs), at_once):
            if bounds.stopped():
                break
            answers += ask(jobs[first : first + at_once])
        left = None if left is None else left - len(answers)
        unasked = step.jobs[len(answers) :]
        if answers:
            step = plan.send([*answers, *[None] * len(unasked)])
        if unasked:
            yield replace(step, jobs=unasked, settled=range(0))
            return
        yield step


def best_first(scores: Sequence[float]) -> tuple[int, ...]:
    """The places by falling score; ties stay in the first stage's order, and so does NaN, last."""
    keys = [math.inf if math.isnan(score) else -score for score in scores]
    return tuple(sorted(range(len(scores)), key=keys.__getitem__))
