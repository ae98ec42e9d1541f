"""Shards given out to workers that are lost: nothing is left out, nothing is reported twice."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tamis.client import Document, Limits
from tamis.server.bulk.running import MOST_LOST, Runner, StoppedError, shards
from tamis.server.bulk.seats import WorkerLostError
from tamis.server.bulk.worker import Report

LIMITS = Limits(1, 1, 1, 1, 1, 1, 1, 1)


class Numbers:
    """The documents `0`, `1`, ... up to a number."""

    def __init__(self, begin: int, end: int) -> None:
        self.numbers = range(begin, end)
        self.skipped: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, begin: int, end: int) -> Self:
        part = self.numbers[begin:end]
        return type(self)(part.start, part.stop)

    def documents(self, limits: Limits) -> Iterator[Document]:
        return (Document(str(number), "x") for number in self.numbers)


@dataclass
class Crew:
    """Workers that are lost with some documents, and by chance.

    Attributes:
        poison: Documents that no worker survives.
        chances: Whether the worker is lost with its next shard, for each shard; then none is.
        errors: Documents with which the job cannot go on.
    """

    poison: set[int] = field(default_factory=set)
    chances: list[bool] = field(default_factory=list)
    errors: set[int] = field(default_factory=set)
    made: int = 0
    stopped: int = 0

    def make(self) -> "Seat":
        self.made += 1
        return Seat(self)


@dataclass
class Seat:
    crew: Crew
    lost: bool = False

    def index(self, shard: Numbers) -> Future[Report]:
        assert not self.lost
        crew, numbers, done = self.crew, shard.numbers, Future[Report]()
        if crew.poison & {*numbers} or (crew.chances and crew.chances.pop()):
            self.lost = True
            done.set_exception(WorkerLostError("killed"))
        elif crew.errors & {*numbers}:
            done.set_result(Report(error="the server is gone"))
        else:
            marks = b"".join(b"%016d" % number for number in numbers)
            done.set_result(Report(digests=marks, upserted=len(numbers)))
        return done

    def stop(self) -> None:
        self.crew.stopped += 1


def run(crew: Crew, documents: int, size: int, workers: int) -> list[Report]:
    runner = Runner(crew.make, workers, LIMITS)  # type: ignore[arg-type]
    return list(runner.run(shards(Numbers(0, documents), size)))


def done(reports: list[Report]) -> list[int]:
    marks = b"".join(report.digests for report in reports)
    return [int(marks[at : at + 16]) for at in range(0, len(marks), 16)]


@given(
    documents=some.integers(0, 60),
    size=some.integers(1, 20),
    workers=some.integers(1, 4),
    poison=some.sets(some.integers(0, 59), max_size=2),
    chances=some.lists(some.booleans(), max_size=3),
)
def test_every_document_is_done_once_but_those_that_end_workers(
    documents: int, size: int, workers: int, poison: set[int], chances: list[bool]
) -> None:
    crew = Crew(poison, [*chances])
    reports = run(crew, documents, size, workers)
    failed = [int(name) for report in reports for name, _ in report.failures]
    assert sorted(done(reports) + failed) == list(range(documents))
    there = poison & {*range(documents)}
    assert there <= {*failed}
    assert len(failed) - len(there) <= len(chances) // 2  # lost twice by chance
    assert crew.stopped == crew.made


def test_a_document_that_ends_workers_is_found_and_named() -> None:
    reports = run(Crew({77}), documents=256, size=128, workers=2)
    failures = [one for report in reports for one in report.failures]
    assert failures == [("77", "2 workers ended while they had it")]
    assert sorted([*done(reports), 77]) == list(range(256))


def test_workers_that_all_end_stop_the_job() -> None:
    crew = Crew(poison={*range(1_000)})
    with pytest.raises(StoppedError, match=f"{MOST_LOST} workers ended one after another: killed"):
        run(crew, documents=1_000, size=100, workers=2)
    assert crew.made <= MOST_LOST + 2
    assert crew.stopped == crew.made


def test_an_error_stops_the_job_after_what_was_done_before() -> None:
    crew, reports = Crew(errors={25}), list[Report]()
    runner = Runner(crew.make, 1, LIMITS)  # type: ignore[arg-type]
    with pytest.raises(StoppedError, match="the server is gone"):
        reports.extend(runner.run(shards(Numbers(0, 100), 10)))
    assert done(reports) == list(range(20))
    assert crew.stopped == crew.made == 1


def test_whoever_stops_listening_ends_the_workers() -> None:
    crew = Crew()
    runner = Runner(crew.make, 3, LIMITS)  # type: ignore[arg-type]
    reports = runner.run(shards(Numbers(0, 100), 10))
    next(reports)
    reports.close()
    assert crew.stopped == crew.made == 3
