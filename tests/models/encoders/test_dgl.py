"""DGL against a plain second implementation of the published code: one video, step by step.

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
    drawn,
    fed,
    holds,
    layers,
    prompted_text,
    served,
)
from torch import Tensor
from torch.nn.functional import linear, normalize

from tamis.models.encoders.dgl import DGL
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.dgl import networks_of
from tamis.models.networks.clip import LayersShape
from tamis.models.networks.dgl import LinearPrompts, TransformerPrompts
from tamis.models.networks.prompt_tuned import GlobalLocalVideo
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.video import VideoRecipe
from tamis.models.types import Content, Side

FRAMES, LOCAL, OF_TEXT = 3, 2, 4


def weights(kind: str) -> dict[str, Tensor]:
    """A checkpoint by the authors' names, with prompts of either kind."""
    torch.manual_seed(2)
    shape = LayersShape(width=VISION.width, layers=1, heads=2, inner=4 * VISION.width)
    network = (
        TransformerPrompts(shape, OF_TEXT + FRAMES * LOCAL, VISION.layers, TEXT.width)
        if kind == "transformer"
        else LinearPrompts(LOCAL, VISION.layers, VISION.width, TEXT.width)
    )
    own = {f"clip.{key}": drawn(tensor) for key, tensor in network.state_dict().items()}
    if kind == "linear":
        own |= {
            "clip.postfix_text_prompt_proj_layer.weight": torch.ones(TEXT.width, VISION.width),
            "clip.postfix_text_prompt_proj_layer.bias": torch.ones(TEXT.width),
        }
    globals_ = torch.randn(1, LOCAL, VISION.width)
    return clip_weights() | own | {"clip.visual.prompt_embeddings": globals_}


def watched(network: GlobalLocalVideo, video: Tensor) -> Tensor:
    """One video's vector: each frame by itself, then the global tokens."""
    tower = network.tower
    whole: Tensor = network.whole
    frames = list(tower.embedded(video))
    for layer, prompts in zip(layers(tower.transformer), network.prompts, strict=True):
        local = [
            torch.cat([own[:1], prompt, own[1:]])
            for own, prompt in zip(frames, prompts, strict=True)
        ]
        above, normed = layer.ln_1(whole), [layer.ln_1(own) for own in local]
        taken = [attended(layer.attn, own, torch.cat([above, own])) for own in normed]
        gathered = attended(layer.attn, above, torch.cat([above, *normed]))
        whole = fed(layer, whole + gathered)
        made = [fed(layer, own + new) for own, new in zip(local, taken, strict=True)]
        frames = [torch.cat([own[:1], own[1 + prompts.shape[1] :]]) for own in made]
    return tower.projected(whole[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dgl")
    return served(weights("transformer"), made, "dgl", SETTINGS, vocabulary=TEXT.vocabulary)


@pytest.mark.parametrize("kind", ["transformer", "linear"])
@torch.no_grad()
def test_frames_see_the_global_tokens_and_these_see_every_frame(kind: str, tmp_path: Path) -> None:
    source = checkpoint(weights(kind), tmp_path / "source", TEXT.vocabulary)
    towers, text, video = networks_of(Checkpoint.open(source), SETTINGS)
    videos = torch.randn(2, FRAMES, 3, 16, 16)
    expected = torch.stack([watched(video, one) for one in videos])
    close(video(videos).numpy(), expected, 1e-5)
    ids = [28, 4, 5, 29]
    close(text(torch.tensor([ids]))[0].numpy(), prompted_text(towers.text, text.prompts, ids), 1e-5)


@torch.no_grad()
def test_prompts_of_a_layer_attend_to_one_another_before_they_are_parted() -> None:
    own = {key.removeprefix("clip."): tensor for key, tensor in weights("transformer").items()}
    shape = LayersShape(width=VISION.width, layers=1, heads=2, inner=4 * VISION.width)
    network = TransformerPrompts(shape, OF_TEXT + FRAMES * LOCAL, VISION.layers, TEXT.width)
    network.load_state_dict({key: own[key] for key in network.state_dict()})
    made = network(FRAMES, LOCAL)
    table = own["unified_prompt_embedding.weight"]
    (layer,) = layers(network.PromptTransformer)
    for number in range(VISION.layers):
        states = table[:, number * VISION.width : (number + 1) * VISION.width]
        normed = layer.ln_1(states)
        states = fed(layer, states + attended(layer.attn, normed, normed))
        frames = states[OF_TEXT:].reshape(FRAMES, LOCAL, VISION.width)
        close(made.frames[number].numpy(), frames, 1e-5)
        inner = linear(
            states[: OF_TEXT // 2],
            own["unified_prompt_mlp.c_fc.weight"],
            own["unified_prompt_mlp.c_fc.bias"],
        )
        expected = linear(
            inner * torch.sigmoid(1.702 * inner),
            own["unified_prompt_mlp.c_proj.weight"],
            own["unified_prompt_mlp.c_proj.bias"],
        )
        close(made.text[number].numpy(), expected, 1e-5)


@torch.no_grad()
def test_short_videos_are_filled_with_pictures_of_zeros(folder: Path, tmp_path: Path) -> None:
    encoder = DGL(folder=str(folder), threads=1)
    recipe = ModelFolder.open(folder, VideoRecipe, "dgl").recipe
    source = checkpoint(weights("transformer"), tmp_path / "source", TEXT.vocabulary)
    *_, network = networks_of(Checkpoint.open(source), SETTINGS)
    for count in (1, FRAMES):
        frames = clip(count)
        (made,) = encoder.encode([Content(frames=frames)], Side.DOCUMENT)
        video = torch.cat([pixels(recipe, *frames), torch.zeros(FRAMES - count, 3, 16, 16)])
        close(dense(made), normalize(watched(network, video), dim=0), 1e-5)


def test_it_encodes_as_every_encoder_of_videos(folder: Path) -> None:
    encoder = DGL(folder=str(folder), threads=1)
    holds(encoder)
    chooses_evenly(encoder)
    there, back = encoder.encode(
        [Content(frames=clip(3)), Content(frames=clip(3)[::-1])], Side.DOCUMENT
    )
    assert np.abs(dense(there) - dense(back)).max() > 1e-6


@pytest.mark.parametrize(
    ("change", "settings", "problem"),
    [
        ({"cross.weight": torch.ones(1)}, {}, "cross.weight: unknown"),
        ({}, {"max_frames": "5"}, "10 prompts are too few for 5 frames of 2: max_frames"),
        ({"clip.visual.prompt_embeddings": torch.ones(1, 2, 9)}, {}, "expected width 16, got 9"),
        ({"clip.unified_prompt_mlp.c_fc.bias": torch.ones(7)}, {}, r"expected \[32\], got \[7\]"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: dict[str, Tensor], settings: dict[str, str], problem: str, tmp_path: Path
) -> None:
    source = checkpoint(weights("transformer") | change, tmp_path / "source", TEXT.vocabulary)
    with pytest.raises(ModelError, match=problem):
        networks_of(Checkpoint.open(source), SETTINGS | settings)


def test_tensorrt_builds_its_engines(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, VideoRecipe, "dgl"))
