"""Which collection the engine was opening when it died.

Some damage ends the process instead of raising an error: a length that makes no sense, say, for
which no memory can be had. Opened again at each start, such a collection would keep all others
away for ever.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The first death may have had another cause, such as a kill.
_MOST = 2


class Deaths:
    """Counts, in a file, the ends of the process while a collection was being opened."""

    def __init__(self, path: Path) -> None:
        """Reads what earlier processes left; a file that makes no sense counts as none."""
        self._path = path
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            self._counts = {str(name): int(count) for name, count in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._counts = {}

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """The block opens the collection; that it ends, in whatever way, counts as no death.

        Raises:
            RuntimeError: The process has died in it too often; the block does not run.
        """
        count = self._counts.get(name, 0)
        if count >= _MOST:
            raise RuntimeError(
                f"the engine ended {count} times while opening it; remove {self._path} to try again"
            )
        self._counts[name] = count + 1
        self._write()
        try:
            yield
        finally:
            self.forget(name)

    def forget(self, name: str) -> None:
        """The collection is well, or gone."""
        if self._counts.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        if self._counts:
            self._path.write_text(json.dumps(self._counts), encoding="utf-8")
        else:
            self._path.unlink(missing_ok=True)
