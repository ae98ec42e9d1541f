"""One of the workers that share a port. `tamis.server.workers` starts it, and tells what it does.

It says what its parent should know as lines on standard output: `ready` when it answers, `drain`
when a caller asks for Drain, and `failed` with the reason when it cannot start. It drains at
SIGTERM, or when its parent is gone.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tamis.models.errors import TamisError
from tamis.server import logs
from tamis.server.children import when_orphaned
from tamis.server.config import ServerSettings, read
from tamis.server.metrics import Metrics
from tamis.server.serve import open_server, run


async def _work(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    when_orphaned(stop.set)
    metrics = Metrics(triton=settings.triton_metrics)
    async with open_server(settings, metrics, drain=lambda: _tell("drain"), shared_port=True):
        _tell("ready")
        await stop.wait()


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # then the end of standard input says more
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    """The settings of the file, but for what all workers must have in common."""
    settings = read(arguments.settings)
    return replace(
        settings,
        listen=arguments.listen,
        workers=arguments.workers,
        store=replace(settings.store, url=arguments.index, folder=arguments.data),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tamis.server.worker")
    parser.add_argument("--number", type=int, required=True, help="this worker, from 1")
    parser.add_argument("--workers", type=int, required=True, help="how many there are")
    parser.add_argument("--settings", type=Path, required=True, help="the TOML file")
    parser.add_argument("--listen", required=True, help="the address that they share")
    parser.add_argument("--index", required=True, help="the address of the index that they share")
    parser.add_argument("--data", required=True, help="where the pictures are")
    return parser.parse_args()


def main() -> int:
    """Serves; the exit status is 1 where it cannot."""
    arguments = _arguments()
    logs.configure(worker=arguments.number)
    try:
        run(_work(_settings(arguments)))
    except (TamisError, OSError) as error:
        _tell(f"failed {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
