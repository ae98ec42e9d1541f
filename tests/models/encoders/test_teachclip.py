"""TeachCLIP against the authors' numbers: missing frames as published, and left out.

A case is exported once, which takes most of the time.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from golden import golden_cases
from safetensors.torch import load_file
from tiny_towers import Golden, close, dense
from tiny_videos import (
    ON_LOGITS,
    TOLERANCE,
    checkpoint,
    chooses_evenly,
    clip,
    frame_vectors,
    golden_of,
    holds,
    settings_of,
    vectors_of,
)
from untraced import Untraced

from tamis.models.encoders.teachclip import TeachCLIP
from tamis.models.export import teachclip
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Options
from tamis.models.export.graphs import to_onnx
from tamis.models.networks import video
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.onnx import OnnxSession
from tamis.models.runtimes.video import VideoRecipe
from tamis.models.types import Content, Side

METHOD = "teachclip"
CASES = golden_cases(METHOD)


def network_of(case: Path, masked: str) -> video.TeachCLIP:
    config = json.loads((case / "config.json").read_text())
    weights = load_file(case / "weights.safetensors")
    own = {key: tensor for key, tensor in weights.items() if not key.startswith("clip.")}
    return teachclip.network_of(own, settings_of(config) | {"masked": masked})


@pytest.fixture(scope="module", params=CASES)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return golden_of(request.param, tmp_path_factory.mktemp(METHOD), METHOD)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_network_is_the_authors(case: Path) -> None:
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    frames, mask = outputs["frame_output"], inputs["video_mask"]
    published, corrected = (network_of(case, said) for said in ("false", "true"))
    close(published.temporal(frames, mask).numpy(), outputs["temporal_output"], TOLERANCE)
    mixed = published.mixed(frames, mask)
    close(published.weights(mixed, mask).numpy(), outputs["afa.frame_weights_used"], TOLERANCE)
    close(published(frames, mask).numpy(), outputs["afa.video_embedding"], TOLERANCE)
    expected = outputs["afa_masked_variant.video_embedding"]
    close(corrected(frames, mask).numpy(), expected, TOLERANCE)
    # The same checkpoint, pooled as CLIP4Clip pools.
    pooled = video.MeanP().pooled(mixed, mask)
    close(pooled.numpy(), outputs["video_embedding"], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden) -> None:
    close(frame_vectors(golden, METHOD).numpy(), golden.outputs["frame_output"], TOLERANCE)
    videos = vectors_of(golden, METHOD)
    close(videos, golden.outputs["afa.video_embedding"], TOLERANCE)
    scale = float(golden.weights["clip.logit_scale"].exp())
    logits = scale * golden.outputs["text_embedding"].numpy() @ videos.T
    close(logits, golden.outputs["afa.logits"], ON_LOGITS)


@pytest.mark.parametrize("case", CASES)
def test_missing_frames_are_left_out_where_the_exporter_is_told_to(
    case: Path, tmp_path: Path
) -> None:
    config = json.loads((case / "config.json").read_text())
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    for name, said in (("published", "false"), ("corrected", "true")):
        source, made = tmp_path / name, tmp_path / f"{name}.made"
        made.mkdir()
        settings = settings_of(config) | {"masked": said}
        checkpoint(load_file(case / "weights.safetensors"), source, config["clip"]["vocab_size"])
        draft = Untraced(made, Options(settings=settings))
        recipe = teachclip.export(Checkpoint.open(source), draft)
        assert recipe.frames.filled is (said == "false")
    graph = tmp_path / "video.onnx"
    frames = {"frames": outputs["frame_output"], "mask": inputs["video_mask"]}
    axes = {name: {0: "videos", 1: "frames"} for name in frames}
    to_onnx(network_of(case, "true"), frames, ["embedding"], graph, dynamic=axes)
    session = OnnxSession.open(graph, threads=1)
    videos = session.run({name: tensor.numpy() for name, tensor in frames.items()})["embedding"]
    close(videos, outputs["afa_masked_variant.video_embedding"], TOLERANCE)


def test_a_short_video_is_filled_with_pictures_of_zeros_as_published(golden: Golden) -> None:
    encoder = TeachCLIP(folder=str(golden.folder), threads=1)
    most = golden.config["max_frames"]
    short = clip(most - 2)
    (made,) = encoder.encode([Content(frames=short)], Side.DOCUMENT)
    blank = torch.zeros(1, 2, *golden.inputs["video"].shape[2:]).numpy()
    session = encoder._sessions["image"]
    zeros = session.run({"pixels": blank[0]})["embedding"]
    frames = np.concatenate([dense(made, "states"), zeros])[None]
    mask = np.array([[1] * (most - 2) + [0] * 2])
    expected = encoder._sessions["video"].run({"frames": frames, "mask": mask})["embedding"][0]
    close(dense(made), expected, 1e-5)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_missing_frames_count_as_published_and_not_where_they_are_masked(case: Path) -> None:
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    published, corrected = (network_of(case, said) for said in ("false", "true"))
    for frames, mask in zip(outputs["frame_output"], inputs["video_mask"], strict=True):
        padded = frames[None], mask[None]
        alone = frames[None, mask.bool()], mask[None, mask.bool()]
        close(corrected(*padded).numpy(), corrected(*alone).numpy(), 1e-5)
        close(published(*alone).numpy(), corrected(*alone).numpy(), 1e-6)
        changed = (published(*padded) - published(*alone)).abs().max()
        assert changed > 1e-6 if mask.min() == 0 else changed == 0


def test_it_encodes_as_every_encoder_of_videos(golden: Golden) -> None:
    encoder = TeachCLIP(folder=str(golden.folder), threads=1)
    holds(encoder)
    chooses_evenly(encoder)


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, VideoRecipe, METHOD))
