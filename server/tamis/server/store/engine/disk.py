"""Room on the disk.

A full disk ends the engine: it writes through mapped memory, where the only answer to a page that
cannot be had is a signal that no program survives.
"""

import os
from pathlib import Path

from tamis.server.store.engine.errors import FullError

# What comes of a byte that is written: in the log, in the shard, and in the shard's indexes.
_COPIES = 3


class Disk:
    """The file system of a folder, of which some is always left free.

    Args:
        folder: It is there.
        keep_bytes: What is left free. Deleting may use half of it, and opening seven eighths, since
            whoever wants room must be able to make some.
    """

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        self._folder = folder
        self._keep_bytes = keep_bytes

    def require(self, size: int, *, copies: int = _COPIES) -> None:
        """Lets `size` bytes be written.

        Raises:
            FullError: They would take what is to be left free.
        """
        self._require(size * copies, self._keep_bytes)

    def require_for_delete(self) -> None:
        """Lets points be deleted.

        Raises:
            FullError: Even that takes more than there is.
        """
        self._require(0, self._keep_bytes // 2)

    def require_for_start(self) -> None:
        """Lets collections be opened, which repeats what is in their logs.

        Raises:
            FullError: There is no room for it.
        """
        self._require(0, self._keep_bytes // 8)

    def _require(self, size: int, keep: int) -> None:
        found = os.statvfs(self._folder)
        free = found.f_bavail * found.f_frsize
        if free < keep + size:
            raise FullError(
                f"the index's disk is full: {free >> 20} MiB free, {size >> 20} MiB wanted beside "
                f"the {keep >> 20} MiB that must stay free (store.min_free_bytes)"
            )


def size_of(folder: Path) -> int:
    """What a folder takes, in bytes; files that are mostly holes count as what they take."""
    return sum(
        Path(base, name).lstat().st_blocks * 512
        for base, _, names in os.walk(folder)
        for name in names
    )
