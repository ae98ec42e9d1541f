"""Which documents a collection has acknowledged: a file that only grows."""

import fcntl
import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tamis.client import Document
from tamis.models.errors import TamisError

DIGEST_BYTES = 16
VERSION = 1


class LedgerError(TamisError):
    """A ledger is of another job, in use, or no ledger."""


def digest(document: Document) -> bytes:
    """16 bytes that tell this document, with this content, from every other."""
    made = hashlib.blake2b(digest_size=DIGEST_BYTES)
    texts = (document.id, document.text, json.dumps(document.metadata, sort_keys=True))
    parts = [None if text is None else text.encode() for text in texts]
    for part in (*parts, document.image, *document.frames):
        made.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return made.digest()


class Digests:
    """A set of digests in as many bytes as they have.

    Args:
        data: The digests one after another, in any order.
    """

    def __init__(self, data: bytes = b"") -> None:
        starts = range(0, len(data), DIGEST_BYTES)
        self._sorted = b"".join(sorted({data[at : at + DIGEST_BYTES] for at in starts}))

    def __len__(self) -> int:
        return len(self._sorted) // DIGEST_BYTES

    def __contains__(self, one: bytes) -> bool:
        place = bisect_left(range(len(self)), one, key=self._at)
        return place < len(self) and self._at(place) == one

    def _at(self, place: int) -> bytes:
        return self._sorted[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]


class Ledger:
    """A line of JSON that says whose it is, and 16 bytes a document after it.

    Use it in a `with` block. A record that a crash cut short is cut off; one process has it at a
    time.

    Args:
        path: The file; it is made where there is none.
        job: What the job is, as JSON values: a ledger of another one is refused.
        fresh: Whether to forget what it says and begin again.

    Raises:
        LedgerError: It is of another job, in use by another process, or no ledger.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], *, fresh: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            self._lock(path)
            self.acknowledged = self._read(path, {"ledger": VERSION, **job}, fresh=fresh)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, digests: bytes) -> None:
        """Writes digests down; they are on the disk when this returns."""
        if digests:
            self._file.write(digests)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerError(f"{path}: another run is using this ledger") from error

    def _read(self, path: Path, job: Mapping[str, Any], *, fresh: bool) -> Digests:
        self._file.seek(0)
        head = self._file.readline()
        if not head.endswith(b"\n"):  # new, or cut short before its first record
            head = b"{}"
        try:
            found = json.loads(head)
        except ValueError as error:
            raise LedgerError(f"{path}: not a ledger: {error}") from error
        if fresh or not found:
            self._file.truncate(0)
            self.add(json.dumps(job, sort_keys=True).encode() + b"\n")
            return Digests()
        if found != job:
            raise LedgerError(
                f"{path}: of another job ({_said(found)}; this one: {_said(job)}): begin it again "
                "with --fresh, or name another file with --ledger"
            )
        data = self._file.read()
        whole = len(data) - len(data) % DIGEST_BYTES
        self._file.truncate(len(head) + whole)
        return Digests(data[:whole])


def _said(job: object) -> str:
    return json.dumps(job, sort_keys=True)[:500]
