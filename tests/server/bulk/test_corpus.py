"""Corpora in parts: folders, and files of lines."""

import json
from pathlib import Path
from pickle import dumps, loads  # as shards travel to workers
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tamis.client import Document, Limits
from tamis.server.bulk.corpus import Shard, corpus
from tamis.server.bulk.running import shards

LIMITS = Limits(
    max_k=1,
    max_message_bytes=1,
    max_text_bytes=100,
    max_image_bytes=100,
    max_image_pixels=1,
    max_batch_inputs=1,
    max_in_flight=1,
    max_frames=1,
)


def read(shard: Shard) -> tuple[list[Document], list[tuple[str, str]]]:
    """The documents, as another process reads them."""
    there = loads(dumps(shard))
    return list(there.documents(LIMITS)), there.skipped


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "a.txt", "b/c.txt", "b/d.jpg", "b/empty.md", "e.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"" if "empty" in name else f"the words of {name}\n".encode())
    return tmp_path


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_folder_s_shards_are_the_folder(folder: Path, size: int) -> None:
    whole, skipped = read(corpus(folder))
    assert [one.id for one in whole] == ["a.png", "b/c.txt", "b/d.jpg", "e.md"]
    assert whole[0].text == "the words of a.txt"
    assert skipped == [("b/empty.md", "it is empty")]
    parts = [read(shard) for shard in shards(corpus(folder), size)]
    assert [one for documents, _ in parts for one in documents] == whole
    assert [one for _, bad in parts for one in bad] == skipped


def test_beir_s_lines_are_documents(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"png")
    path = lines(
        tmp_path / "corpus.jsonl",
        {"_id": "1", "title": "A title", "text": "and a text"},
        {"_id": "2", "title": "", "text": "Füchse"},
        {"_id": "3", "image": "x.png"},
    )
    assert read(corpus(path)) == (
        [
            Document("1", "A title and a text"),
            Document("2", "Füchse"),
            Document("3", None, b"png"),
        ],
        [],
    )


def test_mbeir_s_lines_are_documents(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "x.png").write_bytes(b"png")
    path = lines(
        tmp_path / "pool.jsonl",
        {"did": "1:1", "txt": "a text", "img_path": None, "modality": "text"},
        {"did": "1:2", "txt": None, "img_path": "x.png", "modality": "image"},
    )
    assert read(corpus(path, images)) == (
        [Document("1:1", "a text"), Document("1:2", None, b"png")],
        [],
    )


def test_a_line_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"x" * 101)
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"_id": "1", "text": "after a byte order mark"}\n'
        b"\n"
        b"not JSON\n"
        b'{"_id": "2"}\n'
        b'{"text": "of nobody"}\n'
        b'{"_id": "3", "text": "\xff"}\n'
        b'{"_id": "4", "text": "' + b"x" * 101 + b'"}\n'
        b'{"_id": "5", "image": "../secret.png"}\n'
        b'{"_id": "6", "image": "large.png"}\n'
        b'{"_id": "7", "text": "without an end of line"}'
    )
    found, skipped = read(corpus(path))
    assert [one.id for one in found] == ["1", "7"]
    places = [where.removeprefix(f"{path}:") for where, _ in skipped]
    assert places == ["3", "4", "5", "6", "7", "8", "9"]
    said = [
        "not JSON",
        "document 2: has neither text nor image",
        "_id: missing or empty",
        "not UTF-8",
        "101 bytes; the server takes at most 100",
        "'../secret.png' is not a path below",
        "101 bytes; the server takes at most 100",
    ]
    assert [text in why for text, (_, why) in zip(said, skipped, strict=True)] == [True] * 7
    parts = [read(shard) for shard in shards(corpus(path), 2)]
    assert [one for documents, _ in parts for one in documents] == found
    assert [one for _, bad in parts for one in bad] == skipped


@given(some.lists(some.sampled_from([b"\n", b" \n", b'{"_id": "x", "text": "y"}\n', b"{]\n"])))
def test_every_line_but_blank_ones_counts(
    tmp_path_factory: pytest.TempPathFactory, given_lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "corpus.jsonl"
    path.write_bytes(b"".join(given_lines))
    found, skipped = read(corpus(path))
    assert len(corpus(path)) == len(found) + len(skipped)
    assert len(found) == sum(line.startswith(b'{"') for line in given_lines)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="none: no such folder"):
        corpus(tmp_path / "none")
