"""`python -m tamis.server.store.engine --folder data/engine --socket /run/tamis/engine.sock`."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

import grpc

from tamis.server.children import when_orphaned
from tamis.server.store.engine.collections import Collections, locked
from tamis.server.store.engine.disk import Disk
from tamis.server.store.engine.errors import FolderInUseError, FullError
from tamis.server.store.engine.service import handlers
from tamis.server.store.engine.upkeep import Upkeep

_LOG = logging.getLogger(__name__)
# How long a process that is about to end may take to let go of the folder, in seconds.
_LOCK_WAIT_S = 5.0


async def _serve(collections: Collections, arguments: argparse.Namespace) -> None:
    """Answers until SIGTERM, SIGINT or, if so asked, the end of standard input."""
    loop, stopped, orphaned = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if arguments.until_stdin_ends:

        def leave() -> None:
            orphaned.set()
            stopped.set()

        when_orphaned(leave)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", arguments.max_message_bytes),
            ("grpc.max_send_message_length", arguments.max_message_bytes),
        ],
        maximum_concurrent_rpcs=arguments.max_calls,
    )
    server.add_generic_rpc_handlers(tuple(handlers(collections)))
    arguments.socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{arguments.socket}")
    await server.start()
    _LOG.info("serving %s on %s", arguments.folder, arguments.socket)
    upkeep = Upkeep(
        collections,
        look_after_s=arguments.look_after_s,
        optimize_after=arguments.optimize_after,
    )
    looking = asyncio.create_task(upkeep.run())
    await stopped.wait()
    looking.cancel()
    await server.stop(grace=1.0)
    await asyncio.wait({looking})
    arguments.socket.unlink(missing_ok=True)
    if orphaned.is_set():  # the socket's private folder has nobody else to remove it
        with contextlib.suppress(OSError):
            arguments.socket.parent.rmdir()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tamis.server.store.engine")
    parser.add_argument("--folder", type=Path, required=True, help="where the collections are")
    parser.add_argument("--socket", type=Path, required=True, help="the Unix socket to serve on")
    parser.add_argument("--max-message-bytes", type=int, default=128 << 20)
    parser.add_argument("--max-calls", type=int, default=1024, help="calls in flight at most")
    parser.add_argument("--look-after-s", type=float, default=5.0, help="how often to flush")
    parser.add_argument("--optimize-after", type=int, default=20_000, help="points written")
    parser.add_argument("--min-free-bytes", type=int, default=256 << 20, help="of the disk")
    parser.add_argument("--until-stdin-ends", action="store_true", help="exit with the parent")
    return parser.parse_args()


def main() -> int:
    """Serves one folder; the exit status is 1 where it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    arguments = _arguments()
    keep_bytes = arguments.min_free_bytes
    try:
        with locked(arguments.folder, wait_s=_LOCK_WAIT_S):
            collections = Collections(arguments.folder, Disk(arguments.folder, keep_bytes))
            asyncio.run(_serve(collections, arguments))
            collections.close()
    except (FolderInUseError, FullError, OSError, RuntimeError) as error:
        _LOG.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
