"""The command line, `tamis`. Importing it imports nothing else: `--help` should not wait."""

import os
import sys
from typing import NoReturn


def main() -> None:
    """Runs the command of `sys.argv`. An error is one line on stderr, and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        # A caption that the terminal cannot show must not end a search.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Many small products run at once here: a pool of threads for each would fight the models' own
    # for the cores. Numpy reads it when it is imported; whoever knows better has set it already.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from tamis.server.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich", "typer"}:
            raise
        leave(f"the command line needs: pip install 'tamis[cli]' ({error.name} is missing)", 2)

    from tamis.models.errors import TamisError

    try:
        app()
    except BrokenPipeError:  # as in `tamis search ... | head -1`
        # Python flushes stdout once more at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (TamisError, OSError) as error:
        leave(str(error), 1)


def leave(message: str, status: int) -> NoReturn:
    """Says why on stderr and ends the program."""
    sys.stderr.write(f"tamis: {message}\n")
    raise SystemExit(status)


def missing(error: ModuleNotFoundError, command: str, extra: str) -> NoReturn:
    """Says which of the package's extras a command needs, and ends the program."""
    if (error.name or "").startswith("tamis"):
        raise error
    leave(f"{command} needs: pip install 'tamis[{extra}]' ({error.name} is missing)", 2)
