"""What the command `tamis index` is made of."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tamis.client import AlreadyExistsError, Client, Collection, NotFoundError
from tamis.server.bulk.corpus import Shard
from tamis.server.bulk.ledger import Ledger
from tamis.server.bulk.reporting import Meter
from tamis.server.bulk.running import Runner, StoppedError, shards
from tamis.server.bulk.seats import Here, ProcessSeat, Seat
from tamis.server.bulk.worker import Job, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a corpus is indexed.

    Attributes:
        batch: Documents in one message.
        shard: Documents that a worker takes, and that go to the ledger, together.
        processes: Workers, on this machine or on the Ray cluster.
        settings: The settings of the server whose encoders run in the workers; None leaves the
            encoding to the server.
        ray: A Ray cluster's address, or `auto`; None for workers on this machine.
        ledger: The file that says what is done; None for `artifacts/index/COLLECTION.ledger`.
        fresh: Whether to forget what that file says.
    """

    batch: int = 32
    shard: int = 128
    processes: int = 1
    settings: Path | None = None
    ray: str | None = None
    ledger: Path | None = None
    fresh: bool = False


def index(client: Client, corpus: Shard, collection: str, plan: Plan) -> Meter:
    """Puts a corpus into a collection, and prints how it went.

    Interrupted, it says how far it came before it raises `KeyboardInterrupt`.

    Raises:
        LedgerError: The ledger is of another job, or in use.
        StoppedError: The server, the settings or the machine do not let the job go on.
        TamisClientError: The server does not answer, or does not take the collection.
    """
    limits = client.info().limits
    batch = min(plan.batch, limits.max_batch_inputs or plan.batch)
    job = Job(client.target, collection, limits, batch)
    into, first = _there(client, corpus.part(0, batch), job)
    path = plan.ledger or Path("artifacts/index") / f"{collection}.ledger"
    of = {"collection": collection, "vectors": {one.name: one.fingerprint for one in into.vectors}}
    with Ledger(path, of, fresh=plan.fresh) as ledger:
        job = replace(
            job,
            acknowledged=ledger.acknowledged,
            settings=plan.settings,
            workers=plan.processes,
        )
        meter = Meter(len(corpus))
        rest = corpus
        try:
            if first is not None:
                rest = corpus.part(batch, len(corpus))
                _count(first, ledger, meter)
            with _seats(job, plan.ray) as make, meter:
                runner = Runner(make, plan.processes, limits)
                with closing(runner.run(shards(rest, plan.shard))) as reports:
                    for report in reports:
                        _count(report, ledger, meter)
        finally:
            sys.stdout.write(f"{meter.sum_up(collection)}\n")
            meter.list_failures()
    return meter


def _count(report: Report, ledger: Ledger, meter: Meter) -> None:
    ledger.add(report.digests)
    meter.add(report)


def _there(client: Client, first: Shard, job: Job) -> tuple[Collection, Report | None]:
    """The collection, and what became of the first documents, where they made it.

    A server that makes a collection for documents looks at them for how it weighs terms, so these
    few go in as they are.
    """
    try:
        return client.collection(job.collection), None
    except NotFoundError:
        seat = Here(job)
        report = seat.index(first).result()
        seat.stop()
    if report.error:
        raise StoppedError(report.error)
    try:
        return client.create_collection(job.collection), report  # all of the first were bad
    except AlreadyExistsError:
        return client.collection(job.collection), report


@contextmanager
def _seats(job: Job, ray: str | None) -> Iterator[Callable[[], Seat]]:
    if ray is not None:
        from tamis.server.bulk.on_ray import ray_seats

        with ray_seats(ray, job) as make:
            yield make
    elif job.workers > 1:
        yield partial(ProcessSeat, job)
    else:
        yield partial(Here, job)
