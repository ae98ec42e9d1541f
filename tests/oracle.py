"""A model that knows the truth, for the tests of rank plans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tamis.models.ranking import Job


@dataclass
class Oracle:
    """Answers every job by the hidden relevance of the candidates.

    Attributes:
        relevance: By place; higher is better.
        asked: Every job, in the order in which it was asked.
        layers: How many jobs came at once.
    """

    relevance: Sequence[int]
    asked: list[Job] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, ...]:
        """The true order; equals stay in the first stage's."""
        places = range(len(self.relevance))
        return tuple(sorted(places, key=lambda place: -self.relevance[place]))

    def scores(self, jobs: Sequence[Job]) -> list[float]:
        """Answers to pointwise jobs."""
        self._note(jobs)
        return [float(self.relevance[place]) for (place,) in jobs]

    def pairs(self, jobs: Sequence[Job]) -> list[float]:
        """Answers to pairs: 1 where the first is better, 0 where it is worse."""
        self._note(jobs)
        return [
            0.5 + 0.5 * ((own := self.relevance[a]) > self.relevance[b])
            - 0.5 * (own < self.relevance[b])
            for a, b in jobs
        ]  # fmt: skip

    def orders(self, jobs: Sequence[Job]) -> list[list[int]]:
        """Answers to listwise jobs: places within each, best first."""
        self._note(jobs)
        return [sorted(range(len(job)), key=lambda i: -self.relevance[job[i]]) for job in jobs]

    def _note(self, jobs: Sequence[Job]) -> None:
        self.asked += jobs
        self.layers.append(len(jobs))


def inversions(order: Sequence[int], relevance: Sequence[int]) -> int:
    """Pairs in the wrong order: 0 is the true order."""
    return sum(relevance[a] < relevance[b] for a, b in combinations(order, 2))
