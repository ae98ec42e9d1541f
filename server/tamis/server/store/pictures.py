"""The original bytes of images, by their digest. Nothing else knows where they are."""

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path

from tamis.models.errors import TamisError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class UnknownPictureError(TamisError):
    """No picture of that digest."""


class PictureStore:
    """Images as they came, each once: a file is named after the SHA-256 of its bytes.

    Files lie in `{folder}/ab/cd/{digest}`, so that no folder grows beyond what a file system likes.
    Any number of processes may share the folder: a file appears whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the files are; it may not be there yet."""
        return self._folder

    async def put(self, data: bytes) -> str:
        """Keeps an image and returns its digest, in hex; when it returns the bytes are on disk."""
        return await asyncio.to_thread(self._put, data)

    async def get(self, digest: str) -> bytes:
        """An image's bytes.

        Raises:
            UnknownPictureError: There is none of that digest, or it is no digest.
        """
        return await asyncio.to_thread(self._get, digest)

    async def discard(self, digest: str) -> None:
        """Forgets an image; one that is not there is no error."""
        await asyncio.to_thread(self._discard, digest)

    def _discard(self, digest: str) -> None:
        if _DIGEST.fullmatch(digest):
            self._path(digest).unlink(missing_ok=True)

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        for folder in (path.parent, path.parent.parent, self._folder):
            _fsync(folder)
        return digest

    def _get(self, digest: str) -> bytes:
        if not _DIGEST.fullmatch(digest):
            raise UnknownPictureError(f"{digest!r} is not a SHA-256 in hex")
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise UnknownPictureError(f"no picture {digest}") from error

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:4] / digest


def _fsync(folder: Path) -> None:
    """Makes a new name in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
