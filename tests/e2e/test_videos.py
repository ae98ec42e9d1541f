"""Videos as their frames over a real port: embedded, indexed and searched by a tiny CLIP4Clip.

The model is exported once, which takes most of the time.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import serving
from tiny_videos import SETTINGS, TEXT, clip, clip_weights
from tiny_videos import served as exported

from tamis.client import Client, Document, Embedding, Failure, Query
from tamis.models.encoders.clip4clip_meanp import CLIP4ClipMeanP
from tamis.models.types import Content, Side

SERVER = """
[limits]
max_frames = 4

[encoders.video]
method = "clip4clip_meanp"
settings = {{ folder = "{folder}" }}

[pipelines.default.retrieve]
method = "dense"
settings = {{ vector = "video.dense" }}
[pipelines.default.rerank]
depth = 0
[pipelines.default.refine]
depth = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clip4clip")
    method = "clip4clip_meanp"
    return exported(clip_weights(), made, method, SETTINGS, vocabulary=TEXT.vocabulary)


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = folder.parent / "server.toml"
    settings.write_text(SERVER.format(folder=folder))
    data = tmp_path_factory.mktemp("data")
    with serving(data, settings=settings) as running, Client(running.target) as client:
        yield client


def files(frames: tuple[Image.Image, ...]) -> list[bytes]:
    """Each frame as a caller sends it: a lossless picture's file."""
    made = []
    for frame in frames:
        file = io.BytesIO()
        frame.save(file, "PNG")
        made.append(file.getvalue())
    return made


def test_frames_are_embedded_as_the_encoder_does_and_a_bad_one_fails_alone(
    client: Client, folder: Path
) -> None:
    videos = [clip(3), clip(1, 1), clip(2, 2)]
    broken = Query(frames=[*files(clip(1)), b"GIF89a"])
    many = Query(frames=files(clip(5)))
    inputs = [*(Query(frames=files(video)) for video in videos), broken, many]
    *made, damaged, long = client.embed("video", inputs, side="document")
    encoder = CLIP4ClipMeanP(folder=str(folder), threads=1)
    contents = [Content(frames=video) for video in videos]
    for one, expected in zip(made, encoder.encode(contents, Side.DOCUMENT), strict=True):
        assert isinstance(one, Embedding)
        assert one.fingerprint == encoder.fingerprint
        assert one.representations.keys() == {f"video.{head}" for head in expected.heads}
        for head, value in expected.heads.items():
            assert isinstance(value, np.ndarray)
            got = np.asarray(one.representations[f"video.{head}"])
            assert got == pytest.approx(value, abs=1e-5)
    assert isinstance(damaged, Failure)
    assert "frames" in damaged.message
    assert isinstance(long, Failure)
    assert "5 frames; at most 4" in long.message


def test_a_video_is_found_by_itself_and_by_one_of_its_frames(client: Client) -> None:
    videos = {f"v{seed}": clip(2 + seed % 3, seed) for seed in range(6)}
    pictures = [Document(f"p{seed}", image=files(clip(1, seed))[0]) for seed in (20, 21)]
    documents = [Document(name, frames=files(frames)) for name, frames in videos.items()]
    progress = client.upsert("videos", [*documents, *pictures]).final()
    assert (progress.upserted, progress.failed) == (8, 0)
    for name, frames in videos.items():
        best = client.hits(Query(frames=files(frames)), collection="videos", k=2)[0]
        assert best.document_id == name
        assert best.score == pytest.approx(1, abs=1e-4)
    still = client.hits(image=pictures[1].image, collection="videos", k=1)[0]
    assert still.document_id == "p21"
    assert still.score == pytest.approx(1, abs=1e-4)
    assert len(client.hits("w4 w5", collection="videos", k=8)) == 8


def test_the_frames_are_not_kept(client: Client) -> None:
    client.upsert("kept", [Document("v", text="w4", frames=files(clip(2)))]).final()
    (document,) = client.get("kept", ["v"], view="full")
    assert document.text == "w4"
    assert document.frames == ()
    assert document.image is None
