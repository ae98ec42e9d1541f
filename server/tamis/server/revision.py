"""What tells a process that another one changed the collections."""

import mmap
from pathlib import Path
from uuid import uuid4

_BYTES = 16


class Revision:
    """A mark in a file that processes share: whoever changes the collections changes the mark.

    The file is mapped into memory, so that looking at it costs no system call and can be done
    before each search. A mark that is read while it is being written is equal to neither the one
    before nor the one after, which is as good as any other change.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, and makes it where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(_BYTES)
        with path.open("r+b") as file:
            self._mark = mmap.mmap(file.fileno(), _BYTES)

    def now(self) -> bytes:
        """The mark, as the last change of any process left it."""
        return self._mark[:]

    def change(self) -> None:
        """Tells every process that something changed."""
        self._mark[:] = uuid4().bytes
