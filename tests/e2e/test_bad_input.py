"""What a caller can get wrong: each is a clear error, and the server goes on."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from drawings import documents, drawing
from PIL import Image
from serving import ROOT, Served

from tamis.client import (
    Client,
    Document,
    DocumentFailure,
    FailedPreconditionError,
    Failure,
    InvalidRequestError,
    NotFoundError,
    Query,
    Tensor,
)
from tamis.v1 import collection_service_pb2


def png_bomb(side: int) -> bytes:
    """A PNG that says it is `side` pixels wide and high, and is some 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def encoded(mode: str, encoding: str) -> bytes:
    """A picture in an unusual mode."""
    file = io.BytesIO()
    if mode == "I;16":
        pixels = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
        Image.fromarray(pixels).save(file, encoding)
    else:
        Image.new(mode, (64, 64), 128).save(file, encoding)
    return file.getvalue()


def animated() -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


BAD_PICTURES = {
    "truncated JPEG": (drawing("circle", "red", encoding="JPEG")[:400], "."),
    "bomb": (png_bomb(30_000), "30000 x 30000 = 900000000 pixels; at most 40000000"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "noise": (bytes(range(256)), "."),
}
GOOD_PICTURES = {
    "animated GIF": animated(),
    "CMYK": encoded("CMYK", "JPEG"),
    "16 bits": encoded("I;16", "PNG"),
    "grey": encoded("L", "PNG"),
    "palette": encoded("P", "PNG"),
    "one bit": encoded("1", "TIFF"),
}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"text": ""}, r"query\.text: is empty"),
        ({"text": " \n"}, r"query\.text: is empty"),
        ({"text": "x" * 10_000_000}, r"query\.text: 10000000 bytes; at most 65536"),
        ({"text": "x", "k": 0}, r"k: must be from 1 to 1000, not 0"),
        ({"text": "x", "k": 10**9}, r"k: must be from 1 to 1000, not 1000000000"),
        ({"text": "x", "collection": ""}, r"collection: must be set"),
        ({"text": "x", "refine_budget": 0}, r"options\.refine_budget: must be at least 1"),
        ({"text": "x", "rerank_depth": 5_000}, r"options\.rerank_depth: 5000; at most 1000"),
        ({"text": "x", "filter": {"": "y"}}, r"field"),
    ],
)
def test_a_search_that_breaks_a_rule_is_told_which(
    client: Client, drawings: str, query: dict[str, object], message: str
) -> None:
    with pytest.raises((InvalidRequestError, ValueError), match=message):
        client.hits(**{"collection": drawings} | query)  # type: ignore[arg-type]
    assert client.hits("still here", collection=drawings) != []


@pytest.mark.parametrize(("picture", "message"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_picture_that_is_none_is_refused(
    client: Client, drawings: str, picture: bytes, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        client.hits(image=picture, collection=drawings)
    assert client.hits("still here", collection=drawings) != []


@pytest.mark.parametrize("picture", GOOD_PICTURES.values(), ids=GOOD_PICTURES)
def test_an_unusual_picture_is_searched_with(client: Client, drawings: str, picture: bytes) -> None:
    assert len(client.hits(image=picture, collection=drawings, k=3)) == 3


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"collection": "nowhere"}, "nowhere"),
        ({"pipeline": "nothing"}, r"pipeline 'nothing' is not one of: default, pictures"),
    ],
)
def test_what_is_not_there_is_named(
    client: Client, drawings: str, place: dict[str, str], message: str
) -> None:
    with pytest.raises(NotFoundError, match=message):
        client.hits("x", **({"collection": drawings} | place))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("tamis_mini.dense", np.ones(100, np.float32), r"has shape \[100\]; needs 1 axes"),
        ("tamis_mini.dense", np.full(384, np.nan, np.float32), "not finite"),
        ("clip.dense", np.ones(384, np.float32), "not one of"),
        ("bm25.terms", np.ones(384, np.float32), "needs to be sparse"),
        ("minilm.tokens", np.ones((0, 384), np.float32), "needs one or two axes"),
    ],
)
def test_a_representation_that_does_not_fit_is_refused(
    client: Client, drawings: str, name: str, values: np.ndarray, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        client.hits(collection=drawings, representations={name: Tensor.of(values)})


def test_a_query_that_the_pipeline_cannot_use_is_told_what_it_needs(
    client: Client, collection: str
) -> None:
    client.create_collection(collection, ["bm25.terms"])
    with pytest.raises(FailedPreconditionError, match=r"does not index 'minilm.dense'"):
        client.hits("x", collection=collection)


def test_a_task_that_the_server_does_not_know_is_refused_in_every_call(
    client: Client, drawings: str
) -> None:
    said = "task: there is no task 'mbeir/cirr'; near: mbeir/cirr_task7"
    query = Query("red", task="mbeir/cirr")
    with pytest.raises(InvalidRequestError, match=f"query.{said}"):
        client.hits(query, collection=drawings)
    (searched,) = client.batch_search([query], collection=drawings)
    (encoded,) = client.embed("minilm", [query])
    for failed in (searched, encoded):
        assert isinstance(failed, Failure)
        assert failed.message.endswith(said)
    for call in (client.rerank, client.refine):
        with pytest.raises(InvalidRequestError, match=f"query.{said}"):
            call(query, documents())
    assert client.hits("red", task="mbeir/mscoco_task0", collection=drawings, k=1)


def test_broken_documents_are_reported_and_the_others_go_in(
    client: Client, collection: str
) -> None:
    broken = [
        Document(id=name, text="A caption.", image=picture)
        for name, (picture, _) in BAD_PICTURES.items()
    ]
    broken += [
        Document(id="", text="no id"),
        Document(id="long", text="token " * 1_000_000),
        Document(id="n" * 600, text="an id that is too long"),
        Document(id="heavy", text="x", metadata={"blob": "y" * 100_000}),
    ]
    good = documents()[:4]
    failures: list[DocumentFailure] = []
    for progress in client.upsert(collection, [*good[:2], *broken, *good[2:]], batch=5):
        failures += progress.failures
    assert (progress.upserted, progress.failed) == (4, len(broken))
    messages = {failure.document_id: failure.failure.message for failure in failures}
    assert len(messages) == len(broken)
    assert "30000 x 30000" in messages["bomb"]
    assert messages["long"] == "content.text: 6000000 bytes; at most 65536"
    assert messages[""] == "id: 0 bytes; from 1 to 512"
    assert client.collection(collection).documents == 4


def test_metadata_that_is_not_utf8_is_refused(served: Served, client: Client) -> None:
    """No client of ours can send it, so its bytes are written by hand."""
    message = collection_service_pb2.UpsertDocumentsRequest(collection="latin1")
    document = message.documents.add(id="x")
    document.content.text = "a text"
    document.metadata["name"] = "caffe"
    wire = message.SerializeToString().replace(b"caffe", b"caf\xe9!")
    with grpc.insecure_channel(served.target) as channel:
        upsert: Any = channel.stream_stream("/tamis.v1.CollectionService/UpsertDocuments")
        with pytest.raises(grpc.RpcError) as caught:
            list(upsert(iter([wire])))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert client.ready()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("artifacts/minilm", "artifacts/none"), "artifacts/none/model.toml: no such file"),
        (("drain_s =", "drane_s ="), "drane_s: unknown; known: "),
        (('"tamis_mini.dense"] }', '"tamis_mini.dens"] }'), "no encoder makes 'tamis_mini.dens'"),
        (('method = "hybrid"', 'method = "hybrit"'), "'hybrit' is not one of: bm25, "),
        (("budget = 36", "budget = 0"), "budget must be at least 1 token, not 0"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    settings = tmp_path / "tamis.toml"
    settings.write_text((ROOT / "deploy" / "tamis.toml").read_text().replace(*change))
    command = [sys.executable, "-m", "tamis.server.cli", "serve", str(settings)]
    command += ["--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
