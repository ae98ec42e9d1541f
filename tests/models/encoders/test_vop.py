"""VoP against a plain second implementation, as no weights are published.

It is exported once, which takes most of the time.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from tiny_towers import close, dense, pixels
from tiny_videos import (
    SETTINGS,
    TEXT,
    VISION,
    attended,
    checkpoint,
    chooses_evenly,
    clip,
    clip_weights,
    fed,
    holds,
    layers,
    prompted_text,
    served,
)
from torch import Tensor
from torch.nn.functional import normalize

from tamis.models.encoders.vop import VoP
from tamis.models.errors import ModelError
from tamis.models.export.exporting import export
from tamis.models.export.vop import networks_of
from tamis.models.networks.clip import ClipTowers, VisionTower
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.video import VideoRecipe
from tamis.models.types import Content, Side


def prompts() -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(1)
    return {
        "text_prompts": torch.randn(TEXT.layers, 3, TEXT.width, generator=make),
        "video_prompts": torch.randn(VISION.layers, 2, VISION.width, generator=make),
    }


def towers() -> ClipTowers:
    made = ClipTowers(VISION, TEXT)
    own = {key.removeprefix("clip."): tensor for key, tensor in clip_weights().items()}
    made.load_state_dict(
        {key if key.startswith("visual.") else f"text.{key}": own[key] for key in own}
    )
    return made.eval()


def frame(tower: VisionTower, own: Tensor, image: Tensor) -> Tensor:
    """One frame's vector, step by step."""
    states = tower.embedded(image[None])[0]
    for layer, prompt in zip(layers(tower.transformer), own, strict=True):
        whole = torch.cat([states[:1], prompt, states[1:]])
        normed = layer.ln_1(whole)
        whole = fed(layer, whole + attended(layer.attn, normed, normed))
        states = torch.cat([whole[:1], whole[1 + len(prompt) :]])
    return tower.projected(states[0])


@torch.no_grad()
def test_prompts_stand_after_the_first_token_in_each_layer() -> None:
    made, own = towers(), prompts()
    text, image = networks_of(made, own)
    texts = [[28, 4, 5, 29], [28, 6, 29, 0]]
    expected = [prompted_text(made.text, own["text_prompts"], ids) for ids in texts]
    close(text(torch.tensor(texts)).numpy(), torch.stack(expected), 1e-5)
    images = torch.randn(2, 3, 16, 16)
    expected = [frame(made.visual, own["video_prompts"], one) for one in images]
    close(image(images).numpy(), torch.stack(expected), 1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = clip_weights() | prompts()
    made = tmp_path_factory.mktemp("vop")
    return served(weights, made, "vop", SETTINGS, vocabulary=TEXT.vocabulary)


@torch.no_grad()
def test_a_video_is_the_mean_of_its_frames_and_a_text_is_read_with_its_prompts(
    folder: Path,
) -> None:
    encoder = VoP(folder=str(folder), threads=1)
    recipe = ModelFolder.open(folder, VideoRecipe, "vop").recipe
    made, own, frames = towers(), prompts(), clip(3)
    video, text = encoder.encode([Content(frames=frames), Content(text="w4 w5")], Side.QUERY)
    images = pixels(recipe, *frames)
    units = [normalize(frame(made.visual, own["video_prompts"], one), dim=0) for one in images]
    close(dense(video), normalize(torch.stack(units).mean(0), dim=0), 1e-5)
    expected = prompted_text(made.text, own["text_prompts"], [28, 4, 5, 29])
    close(dense(text), normalize(expected, dim=0), 1e-5)
    assert np.allclose(dense(text, "states")[0], expected, atol=1e-5)


def test_it_encodes_as_every_encoder_of_videos(folder: Path) -> None:
    encoder = VoP(folder=str(folder), threads=1)
    holds(encoder)
    chooses_evenly(encoder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text_prompts": None}, "text_prompts: missing"),
        ({"text_prompts": torch.zeros(1, 3, TEXT.width)}, r"text_prompts: expected \[2, 3, 20\]"),
        ({"others": torch.zeros(1)}, "others: unknown"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: dict[str, Tensor | None], problem: str, tmp_path: Path
) -> None:
    weights = {k: v for k, v in (clip_weights() | prompts() | change).items() if v is not None}
    source = checkpoint(weights, tmp_path / "source", TEXT.vocabulary)
    with pytest.raises(ModelError, match=problem):
        export(source, tmp_path / "served", method="vop")


def test_tensorrt_builds_its_engines(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, VideoRecipe, "vop"))
