"""The connection of a command to its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tamis.server.cli import leave

if TYPE_CHECKING:
    from tamis.client import Client


@contextmanager
def connected(target: str) -> Iterator[Client]:
    """A client whose errors end the program with one line."""
    from tamis.client import Client, TamisClientError, UnavailableError

    try:
        with Client(target) as client:
            yield client
    except UnavailableError as error:
        leave(f"no answer from {target}: {_line(error)}", 1)
    except (TamisClientError, ValueError) as error:
        leave(_line(error), 1)
    except KeyboardInterrupt:
        leave("interrupted", 130)


def _line(error: Exception) -> str:
    from tamis.server.cli.tables import printable

    return printable(str(error))
