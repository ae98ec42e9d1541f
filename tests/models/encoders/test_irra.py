"""IRRA and COTS: CLIP's towers out of their own checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import save_file
from tiny_towers import close, dense, noise, normed, pixels, word_tokenizer
from torch import Tensor

from tamis.models.encoders.cots import COTS
from tamis.models.encoders.irra import IRRA
from tamis.models.errors import ModelError
from tamis.models.export.clip_weights import resized
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.networks.clip import ClipTowers, TextShape, VisionShape
from tamis.models.networks.clip_graphs import ImageGraph, TextGraph
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

SETTINGS = {"height": "48", "width": "16", "vision_heads": "2", "text_heads": "2"}
WORDS, START, END = 40, 38, 39


@pytest.fixture(scope="module")
def network() -> ClipTowers:
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 2, "heads": 2, "inner": 32, "dim": 12}
    vision = VisionShape(patch=8, grid=(6, 2), **sizes)  # type: ignore[arg-type]
    text = TextShape(context=10, vocabulary=WORDS, **sizes)  # type: ignore[arg-type]
    return ClipTowers(vision, text).eval()


def checkpoint(folder: Path, network: ClipTowers, prefix: str, **more: Tensor) -> Path:
    """OpenAI's names, under which the text tower has none of its own."""
    own = {f"{prefix}{k.removeprefix('text.')}": v for k, v in network.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in own.items()} | more, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(word_tokenizer(WORDS, START, END))
    return folder


@pytest.fixture(scope="module")
def served(network: ClipTowers, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder[Any]:
    """An IRRA, with all that its checkpoints hold besides the towers."""
    folder = tmp_path_factory.mktemp("irra")
    source = checkpoint(
        folder / "source",
        network,
        "base_model.",
        **{
            "cross_attn.in_proj_weight": torch.zeros(3, 3),
            "cross_modal_transformer.resblocks.0.ln_1.weight": torch.zeros(3),
            "mlm_head.dense.weight": torch.zeros(3),
            "classifier.weight": torch.zeros(3),
            "logit_scale": torch.zeros(()),
        },
    )
    return export(source, folder / "served", Options(settings=SETTINGS), method="irra")


@torch.no_grad()
def test_irra_reads_tall_pictures_by_clips_towers(
    network: ClipTowers, served: ModelFolder[Any]
) -> None:
    recipe = ModelFolder.open(served.path, TowersRecipe, "irra").recipe
    assert (recipe.image.height, recipe.image.width, recipe.grid) == (48, 16, (6, 2))
    irra = IRRA(folder=str(served.path), threads=1)
    text, image = irra.encode([Content(text="w4 w5"), Content(image=noise())], Side.QUERY)
    told = TextGraph(network.text)(torch.tensor([[START, 4, 5, END]]))
    close(dense(text, "text"), normed(told)[0], 1e-5)
    told = ImageGraph(network.visual)(pixels(recipe, noise()))
    close(dense(image, "image"), normed(told)[0], 1e-5)
    assert image.visual is not None
    assert image.visual.grid == (6, 2)


def test_a_key_that_irra_does_not_know_is_named(network: ClipTowers, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "s", network, "base_model.", **{"other.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"other\.weight: unknown"):
        export(source, tmp_path / "out", Options(settings=SETTINGS), method="irra")


def test_a_square_of_positions_is_interpolated_for_a_tall_grid() -> None:
    """Each row and column is taken where its centre falls, as `align_corners=False` says."""
    square = torch.arange(16.0).reshape(4, 4)
    places = torch.cat([torch.tensor([[-1.0]]), square.reshape(16, 1)])
    made = resized("places", places, (8, 3))
    assert made[0].item() == -1
    rows = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    columns = (np.arange(3) + 0.5) * 4 / 3 - 0.5
    expected = rows[:, None] * 4 + columns[None]
    close(made[1:, 0].reshape(8, 3).numpy(), expected.astype(np.float32), 1e-6)
    assert resized("places", places, (4, 4)) is places
    with pytest.raises(ModelError, match="15 patches are neither a square nor 4 x 4"):
        resized("places", places[1:], (4, 4))


@torch.no_grad()
def test_cots_are_two_towers_under_clips_names(tmp_path: Path) -> None:
    sizes = {"width": 16, "layers": 2, "heads": 2, "inner": 32, "dim": 12}
    vision = VisionShape(patch=8, grid=(3, 3), **sizes)  # type: ignore[arg-type]
    text = TextShape(context=10, vocabulary=WORDS, **sizes)  # type: ignore[arg-type]
    network = ClipTowers(vision, text).eval()
    source = checkpoint(tmp_path / "source", network, "")
    made = export(source, tmp_path / "served", Options(settings=SETTINGS), method="cots")
    recipe = ModelFolder.open(made.path, TowersRecipe, "cots").recipe
    (image,) = COTS(folder=str(made.path), threads=1).encode([Content(image=noise())], Side.QUERY)
    told = ImageGraph(network.visual)(pixels(recipe, noise()))
    close(dense(image), normed(told)[0], 1e-5)


def test_tensorrt_builds_its_engines(served: ModelFolder[Any]) -> None:
    """COTS has the same two graphs."""
    build_engines(ModelFolder.open(served.path, TowersRecipe, "irra"))
