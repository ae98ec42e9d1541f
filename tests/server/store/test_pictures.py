"""Pictures are kept once, whole, under the digest of their bytes."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from tamis.server.store.pictures import PictureStore, UnknownPictureError


async def test_bytes_come_back_as_they_went_in(tmp_path: Path) -> None:
    pictures = PictureStore(tmp_path / "pictures")
    for data in (b"", b"\x89PNG\r\n", bytes(range(256)) * 100):
        digest = await pictures.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert await pictures.get(digest) == data


async def test_a_picture_is_kept_once(tmp_path: Path) -> None:
    pictures = PictureStore(tmp_path)
    digests = await asyncio.gather(*(pictures.put(b"the same") for _ in range(20)))
    assert len(set(digests)) == 1
    digest = digests[0]
    assert [entry.name for entry in os.scandir(tmp_path)] == [digest[:2]]
    assert [entry.name for entry in os.scandir(tmp_path / digest[:2] / digest[2:4])] == [digest]


@pytest.mark.parametrize("digest", ["0" * 64, "", "..", "../../etc/passwd", "A" * 64, "0" * 63])
async def test_what_is_not_there_is_an_error_that_names_it(tmp_path: Path, digest: str) -> None:
    with pytest.raises(UnknownPictureError, match=digest[:5] or "''"):
        await PictureStore(tmp_path).get(digest)


async def test_a_write_that_was_cut_off_leaves_no_picture(tmp_path: Path) -> None:
    """What a process that was killed leaves behind is never taken for a picture."""
    pictures = PictureStore(tmp_path)
    digest = hashlib.sha256(b"data").hexdigest()
    folder = tmp_path / digest[:2] / digest[2:4]
    folder.mkdir(parents=True)
    (folder / ".new-abc").write_bytes(b"da")
    with pytest.raises(UnknownPictureError):
        await pictures.get(digest)
    assert await pictures.put(b"data") == digest
    assert await pictures.get(digest) == b"data"
