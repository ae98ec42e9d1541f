"""Builds for one field of one collection, in a process of its own and of low priority.

The environment has the job. Each line of standard output is a JSON object: a step's progress, or
last of all `failed` with the reason. It ends when its parent does; what it leaves half done, the
next one goes on with.
"""

import asyncio
import fcntl
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tamis.models.errors import TamisError
from tamis.server.children import when_orphaned
from tamis.server.errors import MismatchError
from tamis.server.late_interaction.building import Builder, Progress
from tamis.server.late_interaction.job import VARIABLE, Job
from tamis.server.revision import Revision
from tamis.server.store.opening import open_store

NICENESS = 10


async def _build(job: Job) -> None:
    if task := asyncio.current_task():
        when_orphaned(_cancelling(task))
    revision = Revision(Path(job.revision))
    async with open_store(job.store) as store:
        builder = Builder(
            store=store,
            collection=job.collection,
            vector=job.vector,
            dim=job.dim,
            folder=Path(job.folder),
            settings=job.settings,
            changed=revision.change,
            report=_tell,
        )
        with _alone(builder):
            await builder.run(retrain=job.retrain, copy=job.copy)


def _cancelling(task: "asyncio.Task[None]") -> Callable[[], None]:
    def cancel() -> None:
        task.cancel()

    return cancel


@contextmanager
def _alone(builder: Builder) -> Iterator[None]:
    """Holds the field; the kernel lets go of it when this process ends.

    Raises:
        MismatchError: Another process holds it.
    """
    builder.folder.mkdir(parents=True, exist_ok=True)
    with (builder.folder / f".{builder.vector}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MismatchError(
                f"{builder.collection}: {builder.vector} is being optimized already"
            ) from error
        yield


def _tell(progress: Progress) -> None:
    _write({**asdict(progress), "step": str(progress.step)})


def _write(said: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Builds; the exit status is 1 where it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    os.nice(NICENESS)
    try:
        asyncio.run(_build(Job.read(os.environ[VARIABLE])))
    except (TamisError, OSError, ValueError) as error:
        _write({"failed": str(error), "busy": isinstance(error, MismatchError)})
        return 1
    except asyncio.CancelledError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
