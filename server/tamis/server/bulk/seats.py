"""Where workers run: here, in processes of this machine, or on a Ray cluster (`on_ray.py`)."""

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Protocol

from tamis.server.bulk.corpus import Shard
from tamis.server.bulk.worker import Job, Report, Worker


class WorkerLostError(Exception):
    """The worker ended before it had done its shard."""


class Seat(Protocol):
    """One worker, wherever it runs."""

    def index(self, shard: Shard) -> Future[Report]:
        """Begins with a shard; the one before must be done.

        The future fails with `WorkerLostError` where the worker ends before it has done it.
        """
        ...

    def stop(self) -> None:
        """Ends the worker at once. A shard that it has begun may be half done."""
        ...


class Here:
    """A worker in this process and thread."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def index(self, shard: Shard) -> Future[Report]:
        done: Future[Report] = Future()
        done.set_result(self._worker.index(shard))
        return done

    def stop(self) -> None:
        self._worker.close()


class ProcessSeat:
    """A worker in a process of its own: a new interpreter, since gRPC does not survive a fork."""

    def __init__(self, job: Job) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that ours ends when the process does
        self._thread = ThreadPoolExecutor(max_workers=1)

    def index(self, shard: Shard) -> Future[Report]:
        return self._thread.submit(self._ask, shard)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._thread.shutdown()
        self._connection.close()

    def _ask(self, shard: Shard) -> Report:
        try:
            self._connection.send(shard)
            report: Report = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerLostError(f"process {self._process.pid} ended") from error
        return report


def _work(job: Job, shards: "Connection[Report, Shard]") -> None:
    """What the process does until it is killed, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent
    worker = Worker(job)
    try:
        while True:
            shards.send(worker.index(shards.recv()))
    except (EOFError, OSError):
        worker.close()
