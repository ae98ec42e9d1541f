"""A reranker whose model answers only as often as a test lets it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tamis.models import ranking
from tamis.models.ranking.pairs import all_pair
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.usage import spend
from tamis.models.types import Candidate, Query

PATIENCE_S = 60.0  # after which a thread gives up that a failed test left behind


@dataclass(frozen=True, kw_only=True)
class Gated(PlannedReranker[float]):
    """All pairs by the candidates' ids, the highest first; one batch of prompts for each permit.

    Attributes:
        permits: Batches that the model answers before it waits for more.
        asked: The sizes of the batches that it answered.
        failing_after: Batches after which it fails; None for never.
    """

    checked: ClassVar = "by definition"
    at_once: ClassVar = 4

    permits: threading.Semaphore
    asked: list[int] = field(default_factory=list)
    failing_after: int | None = None

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[float]:
        return all_pair(len(candidates))

    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> list[float | None]:
        if not self.permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the test lets the model answer no more")
        if self.failing_after is not None and len(self.asked) >= self.failing_after:
            raise RuntimeError("secret")
        self.asked.append(len(shown))
        spend(calls=len(shown), tokens=10 * len(shown), model_s=0.0)
        return [float(a.document_id > b.document_id) for a, b in shown]


def gated(permits: int, *, failing_after: int | None = None) -> Gated:
    return Gated(permits=threading.Semaphore(permits), failing_after=failing_after)
