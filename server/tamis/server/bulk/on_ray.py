"""Workers as actors of a Ray cluster, whose machines find the corpus at the paths it has here."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from tamis.server.bulk.corpus import Shard
from tamis.server.bulk.running import StoppedError
from tamis.server.bulk.seats import WorkerLostError
from tamis.server.bulk.worker import Job, Report, Worker


class Indexer:
    """A worker without coroutines: Ray would run those on an event loop of its own."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def index(self, shard: Shard) -> Report:
        """See `Worker.index`."""
        return self._worker.index(shard)


class RaySeat:
    """A worker as an actor with a core of its own, on whichever machine has one.

    Args:
        job: Where Ray's object store has the job.
    """

    def __init__(self, job: Any) -> None:
        actor: Any = ray.remote(num_cpus=1, max_restarts=0)(Indexer)
        self._actor = actor.remote(job)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def index(self, shard: Shard) -> Future[Report]:
        return self._thread.submit(self._ask, shard)

    def stop(self) -> None:
        ray.kill(self._actor)
        self._thread.shutdown()

    def _ask(self, shard: Shard) -> Report:
        try:
            report: Report = ray.get(self._actor.index.remote(shard))
        except RayTaskError:  # a fault of ours, which every worker would meet
            raise
        except RayError as error:
            raise WorkerLostError(str(error)) from error
        return report


def _connect(address: str, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        ray.init(address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise StoppedError(f"--ray {address}: {error}") from error
        try:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        except Exception as late:  # Ray raises bare ones
            raise StoppedError(f"Ray does not start here: {late}") from late


@contextmanager
def ray_seats(address: str, job: Job) -> Iterator[Callable[[], RaySeat]]:
    """Makes workers on a Ray cluster, for as long as the block lasts.

    Args:
        address: The cluster's, as `ray.init` takes it. `auto` is the one that `RAY_ADDRESS` names,
            or that runs on this machine; where there is none, a new one that ends with the block.
        job: What the workers do.

    Raises:
        StoppedError: There is no cluster at the address, or none can be started.
    """
    _connect(address, job.workers)
    try:
        shared = ray.put(job)  # once a machine, however many digests it has
        yield lambda: RaySeat(shared)
    finally:
        ray.shutdown()
