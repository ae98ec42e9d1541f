"""CLIP4Clip's three ways to a video's vector, against the authors' numbers.

Each way is exported once, which takes most of the time.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from golden import golden_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_towers import Golden, close, dense, noise
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
    words,
)

from tamis.models import catalog
from tamis.models.blocks.batches import MOST
from tamis.models.encoders import Encoder
from tamis.models.errors import ModelError
from tamis.models.export import clip4clip_seqlstm, clip4clip_seqtransf
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.networks.clip import LayersShape
from tamis.models.networks.video import MeanP, SeqLSTM, SeqTransf
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.video import FrameRule, FramesEncoder, VideoRecipe
from tamis.models.types import Content, Side

METHODS = ("clip4clip_meanp", "clip4clip_seqtransf", "clip4clip_seqlstm")
CASES = [
    pytest.param((method, *case.values), id=f"{method}-{case.id}", marks=case.marks)
    for method in METHODS
    for case in golden_cases(method)
]


def network_of(case: Path, method: str) -> MeanP:
    config = json.loads((case / "config.json").read_text())
    weights = load_file(case / "weights.safetensors")
    own = {key: tensor for key, tensor in weights.items() if not key.startswith("clip.")}
    if method == "clip4clip_seqtransf":
        return clip4clip_seqtransf.network_of(own, settings_of(config))
    return clip4clip_seqlstm.network_of(own) if method == "clip4clip_seqlstm" else MeanP()


@pytest.fixture(scope="module", params=CASES)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, MeanP, Golden]:
    method, case = request.param
    folder = tmp_path_factory.mktemp(method)
    return method, network_of(case, method), golden_of(case, folder, method)


@pytest.fixture(scope="module")
def encoder(told: tuple[str, MeanP, Golden]) -> FramesEncoder:
    method, _, golden = told
    settings: dict[str, Any] = {"folder": str(golden.folder), "threads": 1}
    made = catalog.load(Encoder, method, settings)
    assert isinstance(made, FramesEncoder)
    return made


@torch.no_grad()
def test_the_network_is_the_authors(told: tuple[str, MeanP, Golden]) -> None:
    _, network, golden = told
    frames, mask = golden.outputs["frame_output"], golden.inputs["video_mask"]
    if isinstance(network, SeqTransf):
        there = mask.bool()
        temporal = network.temporal(frames, mask)
        expected = golden.outputs["temporal_output"]
        close(temporal[there].numpy(), expected[there], TOLERANCE)
    close(network(frames, mask).numpy(), golden.outputs["video_embedding"], TOLERANCE)


def test_its_graphs_are_the_authors(told: tuple[str, MeanP, Golden]) -> None:
    method, _, golden = told
    close(frame_vectors(golden, method).numpy(), golden.outputs["frame_output"], TOLERANCE)
    ids = golden.inputs["input_ids"].numpy()
    texts = golden.session(VideoRecipe, method, "text").run({"input_ids": ids})["embedding"]
    close(texts, golden.outputs["text_output"][:, 0], TOLERANCE)
    videos = vectors_of(golden, method)
    close(videos, golden.outputs["video_embedding"], TOLERANCE)
    scale = float(golden.weights["clip.logit_scale"].exp())
    units = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    close(scale * units @ videos.T, golden.outputs["logits"], ON_LOGITS)


def test_texts_are_served_as_the_authors_embed_them(
    told: tuple[str, MeanP, Golden], encoder: FramesEncoder
) -> None:
    *_, golden = told
    texts = [words(golden, row) for row in range(len(golden.inputs["input_ids"]))]
    made = encoder.encode([Content(text=text) for text in texts], Side.QUERY)
    expected = golden.outputs["text_embedding"]
    close(np.stack([dense(one) for one in made]), expected, TOLERANCE)
    states = np.concatenate([dense(one, "states") for one in made])
    close(states, golden.outputs["text_output"][:, 0], TOLERANCE)


@torch.no_grad()
def test_videos_of_different_lengths_are_served_as_the_network_embeds_each(
    told: tuple[str, MeanP, Golden], encoder: FramesEncoder
) -> None:
    """From pictures: with the recipe's transform, the graphs, and the padding of the batch."""
    method, network, golden = told
    recipe = ModelFolder.open(golden.folder, VideoRecipe, method).recipe
    image = golden.session(VideoRecipe, method, "image")
    videos = [clip(count, count) for count in (2, 1, recipe.frames.most)]
    made = encoder.encode([Content(frames=frames) for frames in videos], Side.DOCUMENT)
    for frames, encoding in zip(videos, made, strict=True):
        pixels = np.stack([recipe.image(frame) for frame in frames])
        alone = torch.from_numpy(image.run({"pixels": pixels})["embedding"])[None]
        expected = network(alone, torch.ones(alone.shape[:2], dtype=torch.int64))
        close(dense(encoding), expected[0].numpy(), 1e-5)
        close(dense(encoding, "states"), alone[0].numpy(), 1e-5)


def test_it_encodes_as_every_encoder_of_videos(encoder: FramesEncoder) -> None:
    holds(encoder)
    chooses_evenly(encoder)


def test_only_the_mean_knows_no_order(
    told: tuple[str, MeanP, Golden], encoder: FramesEncoder
) -> None:
    frames = clip(3)
    there, back = encoder.encode(
        [Content(frames=frames), Content(frames=frames[::-1])], Side.DOCUMENT
    )
    difference = np.abs(dense(there) - dense(back)).max()
    assert difference < 1e-6 if type(told[1]) is MeanP else difference > 1e-6


@pytest.mark.parametrize("kind", [MeanP, SeqTransf, SeqLSTM])
@given(count=st.integers(1, 5), missing=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
@torch.no_grad()
def test_missing_frames_change_nothing(
    kind: type[MeanP], count: int, missing: int, seed: int
) -> None:
    torch.manual_seed(seed)
    shape = LayersShape(width=8, layers=2, heads=2, inner=16)
    made = {MeanP: MeanP(), SeqTransf: SeqTransf(shape, 9), SeqLSTM: SeqLSTM(8)}
    network = made[kind]
    frames, others = torch.randn(1, count, 8), torch.randn(1, missing, 8)
    alone = network(frames, torch.ones(1, count, dtype=torch.int64))
    mask = torch.tensor([[1] * count + [0] * missing])
    padded = network(torch.cat([frames, others], dim=1), mask)
    close(padded.numpy(), alone.numpy(), 1e-5)


def test_frames_are_chosen_from_the_first_to_the_last() -> None:
    frames = [noise(seed, 4, 4) for seed in range(9)]
    assert FrameRule(most=9).chosen(frames) == frames
    assert FrameRule(most=4).chosen(frames) == [frames[i] for i in (0, 2, 5, 8)]
    assert FrameRule(most=1).chosen(frames) == frames[:1]
    with pytest.raises(ValueError, match="most must be at least 1, not 0"):
        FrameRule(most=0)


@pytest.mark.parametrize("case", golden_cases("clip4clip_seqtransf"))
@pytest.mark.parametrize(
    ("method", "broken", "problem"),
    [
        (
            "clip4clip_meanp",
            {},
            r"frame_position_embeddings.weight: unknown: MeanP has no place for it",
        ),
        ("clip4clip_seqlstm", {}, r"lstm_visual\.weight_ih_l0: missing"),
        ("clip4clip_seqtransf", {"max_frames": "999"}, r"max_frames: 999; .* positions for"),
    ],
)
def test_a_checkpoint_of_another_head_is_refused(
    case: Path, method: str, broken: dict[str, str], problem: str, tmp_path: Path
) -> None:
    config = json.loads((case / "config.json").read_text())
    weights, vocabulary = load_file(case / "weights.safetensors"), config["clip"]["vocab_size"]
    source = checkpoint(weights, tmp_path / "source", vocabulary)
    options = Options(settings=settings_of(config) | broken)
    with pytest.raises(ModelError, match=problem):
        export(source, tmp_path / "served", options, method=method)
    assert not (tmp_path / "served").exists()


def test_tensorrt_builds_its_engines(told: tuple[str, MeanP, Golden]) -> None:
    method, _, golden = told
    build_engines(ModelFolder.open(golden.folder, VideoRecipe, method))


def test_an_engine_is_never_given_more_videos_than_it_was_built_for(
    encoder: FramesEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, sizes = encoder._sessions["video"], list[int]()

    class Counted:
        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            sizes.append(len(inputs["frames"]))
            return session.run(inputs)

    monkeypatch.setitem(encoder._sessions, "video", Counted())
    contents = [Content(frames=clip(1 + seed % 2, seed)) for seed in range(MOST + 2)]
    made = encoder.encode(contents, Side.DOCUMENT)
    assert sizes == [MOST, 2]
    close(dense(made[-1]), dense(encoder.encode(contents[-1:], Side.DOCUMENT)[0]), 1e-5)
