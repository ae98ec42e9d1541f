"""Hands a corpus's shards to workers, and gives each shard of a lost worker to another."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from tamis.client import Limits
from tamis.models.errors import TamisError
from tamis.server.bulk.corpus import Shard
from tamis.server.bulk.seats import Seat, WorkerLostError
from tamis.server.bulk.worker import Report

# A shard that a worker was lost with is done once more as it is: the worker may have been ended
# from outside. Lost again, it is halved, until the document that ends workers is alone.
LOSSES = 2
# Workers lost in a row, with nothing done or given up between: the documents are not to blame.
MOST_LOST = 16


class StoppedError(TamisError):
    """A job cannot go on. What the ledger has stays there, and the next run goes on from it."""


@dataclass(slots=True)
class _Piece:
    """A shard that waits or runs, and how many workers were lost with it."""

    shard: Shard
    lost: int = 0


class Runner:
    """Runs one job to its end.

    Args:
        make: Makes a worker; called again for each that is lost.
        workers: How many there are at once.
        limits: What the server takes.
    """

    def __init__(self, make: Callable[[], Seat], workers: int, limits: Limits) -> None:
        self._make = make
        self._workers = workers
        self._limits = limits
        self._waiting: deque[_Piece] = deque()
        self._running: dict[Future[Report], tuple[Seat, _Piece]] = {}
        self._free: list[Seat] = []
        self._lost_in_a_row = 0

    def run(self, shards: Iterator[Shard]) -> Generator[Report, None, None]:
        """What becomes of each shard, as it is done. Close it to end the workers at once.

        Raises:
            StoppedError: The server, the settings or the machine do not let the job go on.
        """
        try:
            while self._begin(shards) or self._running:
                done, _ = wait(self._running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from self._ended(future)
        finally:
            for seat in (*self._free, *(seat for seat, _ in self._running.values())):
                seat.stop()

    def _begin(self, shards: Iterator[Shard]) -> bool:
        """Gives every free worker a shard; whether it gave any."""
        before = len(self._running)
        while len(self._running) < self._workers:
            piece = self._next(shards)
            if piece is None:
                break
            seat = self._free.pop() if self._free else self._make()
            self._running[seat.index(piece.shard)] = (seat, piece)
        return len(self._running) > before

    def _next(self, shards: Iterator[Shard]) -> _Piece | None:
        """New shards first: one that ends workers must not keep them from the others."""
        shard = next(shards, None)
        if shard is not None:
            return _Piece(shard)
        return self._waiting.popleft() if self._waiting else None

    def _ended(self, future: Future[Report]) -> Iterator[Report]:
        seat, piece = self._running.pop(future)
        try:
            report = future.result()
        except WorkerLostError as error:
            seat.stop()
            yield from self._again(piece, error)
            return
        self._free.append(seat)
        if report.error:
            raise StoppedError(report.error)
        self._lost_in_a_row = 0
        yield report

    def _again(self, piece: _Piece, error: WorkerLostError) -> Iterator[Report]:
        """Puts a lost worker's shard back, or gives its one document up."""
        self._lost_in_a_row += 1
        if self._lost_in_a_row == MOST_LOST:
            raise StoppedError(f"{MOST_LOST} workers ended one after another: {error}") from error
        piece.lost += 1
        size = len(piece.shard)
        if piece.lost < LOSSES:
            self._waiting.append(piece)
        elif size > 1:
            halves = (piece.shard.part(0, size // 2), piece.shard.part(size // 2, size))
            self._waiting.extend(map(_Piece, halves))
        else:
            self._lost_in_a_row = 0
            ids = [one.id for one in piece.shard.documents(self._limits)]
            reason = f"{LOSSES} workers ended while they had it"
            yield Report(failures=[(one, reason) for one in ids])


def shards(corpus: Shard, size: int) -> Iterator[Shard]:
    """The corpus in shards of `size` documents, in its order."""
    for begin in range(0, len(corpus), size):
        yield corpus.part(begin, begin + size)
