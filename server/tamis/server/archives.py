"""A folder in one file that says what is in it, and shows when a byte of it has changed.

A gzipped tar, whose first member, `manifest.json`, has the SHA-256 of all others:

    {"format": "tamis-snapshot", "version": 1, "about": {...}, "files": {"index/...": "9f86..."}}
"""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tamis.models.errors import TamisError

FORMAT, VERSION = "tamis-snapshot", 1
MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_UNREADABLE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError)


class DamagedSnapshotError(TamisError):
    """The file is no snapshot, or not as it was written."""


def write(path: Path, folder: Path, about: Mapping[str, Any]) -> None:
    """Puts all files of a folder in one; it is on disk, and whole, when this returns.

    Args:
        path: The file, which appears at the end.
        folder: What goes in.
        about: JSON that `read` gives back.
    """
    names = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    files = {name: _digest(folder / name) for name in names}
    manifest = {"format": FORMAT, "version": VERSION, "about": dict(about), "files": files}
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
                data = json.dumps(manifest).encode()
                member = tarfile.TarInfo(MANIFEST)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                for name in names:
                    archive.add(folder / name, name, recursive=False)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """What `write` was told about it, without a look at the rest.

    Raises:
        DamagedSnapshotError: It is not such a file.
    """
    try:
        with tarfile.open(path, "r|gz") as archive:
            about: dict[str, Any] = _manifest(path, archive)["about"]
            return about
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def unpack(path: Path, folder: Path) -> None:
    """Writes to a folder what `write` has put in, once it is what it was.

    Raises:
        DamagedSnapshotError: It is not; some files may be in the folder.
    """
    try:
        with tarfile.open(path, "r|gz") as archive:
            wanted: dict[str, str] = dict(_manifest(path, archive)["files"])
            while member := archive.next():
                _unpack(archive, member, folder, wanted.pop(member.name))
        if wanted:
            raise ValueError(f"{len(wanted)} files are missing")
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _manifest(path: Path, archive: tarfile.TarFile) -> dict[str, Any]:
    member = archive.next()
    opened = archive.extractfile(member) if member and member.name == MANIFEST else None
    if opened is None:
        raise ValueError(f"it does not begin with {MANIFEST}")
    manifest: dict[str, Any] = json.loads(opened.read())
    if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
        said = f"{manifest['format']} {manifest['version']}"
        raise ValueError(f"it is a {said}; this server reads {FORMAT} {VERSION}")
    return manifest


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, wanted: str) -> None:
    place = PurePosixPath(member.name)
    opened = archive.extractfile(member) if member.isfile() else None
    if opened is None or place.is_absolute() or ".." in place.parts:
        raise ValueError(f"{member.name!r} is no file that a snapshot has")
    path, digest = folder / place, hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while data := opened.read(_CHUNK_BYTES):
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != wanted:
        raise ValueError(f"{member.name!r} is not what was written")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, error: Exception) -> DamagedSnapshotError:
    said = f"no {error} in it" if isinstance(error, KeyError) else str(error)
    return DamagedSnapshotError(f"snapshot {path.name}: {said}")
