"""Rerankers order a query's candidates again, with a closer look at both.

One file a method, named after its paper; a frozen dataclass, as in `encoders`. It subclasses the
narrowest of these that fits and writes its functions:

    TextReranker.score_texts       each candidate by its text
    ImageReranker.score_images     each candidate by its image
    VectorReranker.score_vectors   each candidate by its vectors
    PointwiseReranker.score        each candidate by itself, otherwise
    PlannedReranker.plan, .ask     pairs or lists of candidates, by a plan of `tamis.models.ranking`
    Reranker.rerank                anything else
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar, final

import numpy as np
from jaxtyping import Float

from tamis.models import ranking
from tamis.models.blocks.topk import top_k
from tamis.models.method import Method
from tamis.models.ranking import UNBOUNDED, Bounds
from tamis.models.ranking.pointwise import pointwise
from tamis.models.ranking.vectors import Vectors, of_vectors
from tamis.models.retrievers import Plan
from tamis.models.types import Candidate, Query

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order of the candidates: a reranking's result, or how far it has come.

    Attributes:
        candidates: Each once, best first.
        settled: The ranks, from 0, that can no longer change.
        done: Whether it is the method's result; otherwise it may still get better.
    """

    candidates: list[Candidate]
    settled: range
    done: bool


@dataclass(frozen=True, kw_only=True)
class Reranker(Method):
    """Orders candidates by relevance.

    Attributes:
        reads_images: Whether candidates must come with their decoded images.
    """

    reads_images: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The representations that queries and candidates must come with, as `encoder.head`."""
        return ()

    def plans(self, query: Query, limit: int) -> tuple[Plan, ...]:
        """Searches of the index whose scores, added up, are this method's own for `query`.

        They spare the candidates' representations the way out of the index. Empty where the index
        cannot score: then `rerank` does.
        """
        return ()

    @property
    def anytime(self) -> bool:
        """Whether `rankings` gives orders on the way, so that it can be stopped."""
        return False

    @abstractmethod
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The same candidates, each once, best first, with this method's scores."""

    def rankings(
        self, query: Query, candidates: Sequence[Candidate], bounds: Bounds = UNBOUNDED
    ) -> Iterator[Ranking]:
        """Orders that get better and better; the last one is the best that the bounds allow.

        A method that works in one go has one, its result, whatever the bounds.
        """
        yield Ranking(self.rerank(query, candidates), range(len(candidates)), done=True)


@dataclass(frozen=True, kw_only=True)
class PointwiseReranker(Reranker):
    """Scores each candidate by itself.

    Attributes:
        at_once: Candidates between two looks at the clock; None for a method that is so fast that
            it works in one go.
    """

    at_once: ClassVar[int | None] = None

    @property
    def anytime(self) -> bool:
        return self.at_once is not None

    @abstractmethod
    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        """How relevant each candidate is; higher is better. -inf sends it to the end."""

    @final
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        if not candidates:
            return []
        found = self.score(query, candidates)
        scores = np.where(np.isnan(found), -np.inf, found)
        order = top_k(scores, len(candidates))
        return [replace(candidates[i], score=float(scores[i])) for i in order]

    @final
    def rankings(
        self, query: Query, candidates: Sequence[Candidate], bounds: Bounds = UNBOUNDED
    ) -> Iterator[Ranking]:
        if self.at_once is None:
            return super().rankings(query, candidates, bounds)

        def ask(shown: Sequence[Sequence[Candidate]]) -> list[float]:
            return [float(score) for score in self.score(query, [one for (one,) in shown])]

        plan = pointwise(len(candidates), at_once=self.at_once)
        return _rankings(plan, ask, candidates, bounds, self.at_once)


@dataclass(frozen=True, kw_only=True)
class TextReranker(PointwiseReranker):
    """Asks a model about each candidate's text; one without a text scores -inf."""

    at_once: ClassVar[int | None] = ranking.AT_ONCE

    @abstractmethod
    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        """How well each text answers the query's."""

    @final
    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        scores = np.full(len(candidates), -np.inf)
        told = [(i, c.content.text) for i, c in enumerate(candidates) if c.content.text is not None]
        if query.content.text is not None and told:
            found = self.score_texts(query.content.text, [text for _, text in told])
            scores[[i for i, _ in told]] = found
        return scores


@dataclass(frozen=True, kw_only=True)
class ImageReranker(PointwiseReranker):
    """Asks a model about each candidate's image; one without an image scores -inf."""

    reads_images: ClassVar = True
    at_once: ClassVar[int | None] = ranking.AT_ONCE

    @abstractmethod
    def score_images(self, query: str, seen: list[Candidate]) -> Float[np.ndarray, " seen"]:
        """How well each candidate, all of which have an image, answers the query's text."""

    @final
    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        scores = np.full(len(candidates), -np.inf)
        seen = [i for i, one in enumerate(candidates) if one.content.image is not None]
        if query.content.text is not None and seen:
            scores[seen] = self.score_images(query.content.text, [candidates[i] for i in seen])
        return scores


@dataclass(frozen=True, kw_only=True)
class VectorReranker(PointwiseReranker):
    """Compares two sides' vectors; a candidate without any scores -inf.

    Attributes:
        query: The queries' vectors, as `encoder.head`; a single one is one row.
        document: The candidates'.
    """

    query: str
    document: str

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.query, self.document)

    @abstractmethod
    def score_vectors(
        self, asked: Vectors, held: list[Vectors]
    ) -> Sequence[float] | Float[np.ndarray, " documents"]:
        """How well each candidate's vectors match the query's."""

    @final
    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        return of_vectors(query, candidates, self.query, self.document, self.score_vectors)


@dataclass(frozen=True, kw_only=True)
class PlannedReranker(Reranker, Generic[A]):
    """Asks a model about pairs or lists of candidates, by a plan.

    Where the plan has no scores of its own, scores stay with the ranks: the best candidate gets the
    score that the first stage's best had.

    Attributes:
        at_once: Prompts between two looks at the clock.
    """

    at_once: ClassVar[int] = ranking.AT_ONCE

    @property
    def anytime(self) -> bool:
        return True

    @abstractmethod
    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[A]:
        """What to ask about the candidates, which the plan knows by their places."""

    @abstractmethod
    def ask(self, query: Query, shown: Sequence[Sequence[Candidate]]) -> Sequence[A | None]:
        """The model's answer about each group of candidates; None where it cannot be read."""

    @final
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        (*_, last) = self.rankings(query, candidates)
        return last.candidates

    @final
    def rankings(
        self, query: Query, candidates: Sequence[Candidate], bounds: Bounds = UNBOUNDED
    ) -> Iterator[Ranking]:
        plan = self.plan(query, candidates)
        return _rankings(plan, lambda s: self.ask(query, s), candidates, bounds, self.at_once)


def _rankings(
    plan: ranking.Plan[A],
    ask: Callable[[Sequence[Sequence[Candidate]]], Sequence[A | None]],
    candidates: Sequence[Candidate],
    bounds: Bounds,
    at_once: int,
) -> Iterator[Ranking]:
    """What a plan's steps are for these candidates."""

    def answers(jobs: Sequence[ranking.Job]) -> Sequence[A | None]:
        return ask([[candidates[place] for place in job] for job in jobs])

    for step in ranking.carry_out(plan, answers, bounds, at_once=at_once):
        scores = step.scores or tuple(candidate.score for candidate in candidates)
        ranked = [
            replace(candidates[place], score=score)
            for place, score in zip(step.order, scores, strict=True)
        ]
        yield Ranking(ranked, step.settled, done=not step.jobs)
