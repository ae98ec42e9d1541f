"""PRP-Graph's Swiss tournament: near-equals meet, and PageRank over their games ranks them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.pagerank import pagerank
from tamis.models.ranking import Job, Plan, Step, best_first
from tamis.models.ranking.pairs import share

STEP = 0.01  # how much less a candidate weighs at first than the one above it


def swiss(
    count: int,
    rounds: int,
    *,
    prior: Float[np.ndarray, " n"] | None = None,
    damping: float = 0.85,
) -> Plan[float]:
    """Orders by PageRank over the games of some rounds; at most `rounds * count` jobs.

    A round pairs each candidate with the nearest in the standings that it has not met. Of an odd
    number the last candidate never plays and stays last.

    Args:
        count: Candidates.
        rounds: Rounds.
        prior: How much PageRank believes in each candidate beforehand, not negative; None for the
            standings' own weights.
        damping: PageRank's.
    """
    players = count - count % 2 if count > 1 else 0
    weights = np.maximum(1 - STEP * np.arange(count), 0.0)
    edges = np.zeros((count, count))
    met = np.eye(count, dtype=bool)
    order: tuple[int, ...] = tuple(range(count))
    scores: tuple[float, ...] | None = None
    for played in range(1, rounds + 1):
        games = _paired(best_first(weights[:players].tolist()), met)
        if not games:
            break
        jobs: tuple[Job, ...] = tuple(job for a, b in games for job in ((a, b), (b, a)))
        answers = yield Step(jobs, order, range(players, count), scores)
        for (a, b), first, second in zip(games, answers[::2], answers[1::2], strict=True):
            won, lost = share(first), share(second)
            met[a, b] = met[b, a] = True
            edges[b, a], edges[a, b] = won, lost
            gain = lost * weights[a] / played
            weights[a] += won * weights[b] / played
            weights[b] += gain
        belief = weights if prior is None else prior
        ranks = pagerank(edges[:players, :players], belief[:players], damping=damping)
        byes = [0.0] * (count - players)
        found = [*ranks.tolist(), *byes]
        order = best_first(found)
        scores = tuple(found[i] for i in order)
    yield Step((), order, range(count), scores)


def _paired(standing: Sequence[int], met: np.ndarray) -> list[tuple[int, int]]:
    """Each with the nearest after it that is free and new to it, from the top."""
    free, games = list(standing), []
    while free:
        player = free.pop(0)
        opponent = next((other for other in free if not met[player, other]), None)
        if opponent is not None:
            free.remove(opponent)
            games.append((player, opponent))
    return games
