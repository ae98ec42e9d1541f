"""VISTA, base and multilingual, against the authors' numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from golden import golden_cases
from tiny_towers import MIXED, Golden, close, dense, exported, noise, pixels, same_alone

from tamis.models.encoders.vista import Vista, VistaRecipe
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.vista import UNREAD, eva_shape, name, text_config
from tamis.models.networks import vista
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Side

TOLERANCE = 5e-5  # the golden data's own


@pytest.fixture(scope="module", params=[*golden_cases("vista_base"), *golden_cases("vista_m3")])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    case: Path = request.param
    said = json.loads((case / "config.json").read_text())
    config = said["text"] | {"model_type": "bert" if said["variant"] == "base" else "xlm-roberta"}
    settings = {"vision_heads": str(heads(said))}
    return exported(case, tmp_path_factory.mktemp("vista"), "vista", settings, config)


def heads(config: dict[str, dict[str, dict[str, int]]]) -> int:
    vision = config["eva"]["vision_cfg"]
    return vision["width"] // vision["head_width"]


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> Vista:
    return Vista(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def recipe(golden: Golden) -> VistaRecipe:
    return ModelFolder.open(golden.folder, VistaRecipe, "vista").recipe


@pytest.fixture(scope="module")
def network(golden: Golden) -> vista.Vista:
    source = Checkpoint.open(golden.folder.parent / "source")
    text = text_config(source, golden.weights)
    made = vista.Vista(text, eva_shape(golden.weights, heads(golden.config)))
    load(made, golden.weights, rename=name, ignore=UNREAD)
    return made.eval()


def placed(golden: Golden, recipe: VistaRecipe, kind: str) -> dict[str, np.ndarray]:
    """The `joint` graph's inputs but the picture's, by the golden data's own account of them."""
    patches = recipe.grid[0] * recipe.grid[1] * (kind != "text")
    ids, mask = golden.inputs["text_ids"], golden.inputs["text_mask"]
    if kind == "image":
        ids = torch.tensor([golden.config["empty_text_ids"]]).expand(len(ids), -1)
        mask = torch.ones_like(ids)
    count = torch.arange(ids.shape[1]).expand_as(ids)
    if kind == "text" and golden.config["variant"] == "m3":
        padding = golden.config["text"]["pad_token_id"]
        places = torch.where(mask == 1, count + padding + 1, padding)
    else:
        places = torch.where(count == 0, 0, count + patches)
    made = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
    return {key: tensor.numpy() for key, tensor in made.items()}


@pytest.mark.parametrize("kind", ["text", "image", "both"])
@torch.no_grad()
def test_its_networks_are_the_authors(
    golden: Golden, network: vista.Vista, recipe: VistaRecipe, kind: str
) -> None:
    images = golden.inputs["pixel_values"]
    close(network.tower(images).numpy(), golden.outputs["eva_tokens"], 1e-4)
    tokens = network.image()(images)
    inputs = {key: torch.from_numpy(own) for key, own in placed(golden, recipe, kind).items()}
    made = network.joint()(image=tokens[:, :0] if kind == "text" else tokens, **inputs)
    unit = torch.nn.functional.normalize(made, dim=-1)
    close(unit.numpy(), golden.outputs[f"{kind}.embedding"], TOLERANCE)
    close(made.numpy(), golden.outputs[f"{kind}.encoder_output"][:, 0], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden, recipe: VistaRecipe) -> None:
    image = golden.session(VistaRecipe, "vista", "image")
    joint = golden.session(VistaRecipe, "vista", "joint")
    tokens = image.run({"pixels": golden.inputs["pixel_values"].numpy()})["states"]
    made = []
    for kind in ("text", "image", "both"):
        beside = tokens[:, :0] if kind == "text" else tokens
        raw = joint.run(placed(golden, recipe, kind) | {"image": beside})["embedding"]
        made.append(raw / np.linalg.norm(raw, axis=1, keepdims=True))
        close(made[-1], golden.outputs[f"{kind}.embedding"], TOLERANCE)
    whole = np.concatenate(made)
    close(whole @ whole.T, golden.outputs["scores_all"], TOLERANCE)


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: Vista) -> None:
    texts = [golden.text(row) for row in range(len(golden.inputs["text_ids"]))]
    made = encoder.encode([Content(text=text) for text in texts], Side.QUERY)
    expected = golden.outputs["text.embedding"]
    close(np.stack([dense(encoding) for encoding in made]), expected, TOLERANCE)


@torch.no_grad()
def test_a_picture_is_read_before_the_words(
    golden: Golden, encoder: Vista, network: vista.Vista, recipe: VistaRecipe
) -> None:
    start, end = golden.marks
    tokens = network.image()(pixels(recipe, noise()))
    for text, words in (("w6 w7", [6, 7]), (None, [])):
        ids = torch.tensor([[start, *words, end]])
        count = torch.arange(ids.shape[1])[None]
        places = torch.where(count == 0, 0, count + tokens.shape[1])
        told = network.joint()(ids, torch.ones_like(ids), places, tokens)
        (made,) = encoder.encode([Content(text=text, image=noise())], Side.DOCUMENT)
        close(dense(made), torch.nn.functional.normalize(told, dim=-1)[0], 1e-5)


def test_a_content_is_encoded_alone_as_in_a_batch(encoder: Vista) -> None:
    same_alone(encoder, MIXED, Side.QUERY)


def test_a_picture_leaves_less_room_for_words(encoder: Vista, recipe: VistaRecipe) -> None:
    room = recipe.text.max_tokens - 2
    beside = room - recipe.grid[0] * recipe.grid[1]
    for words, image in ((room, None), (beside, noise())):
        fits, exceeds = ("w6 " * count for count in (words, words + 1))
        assert not encoder.truncates(Content(text=fits, image=image))
        assert encoder.truncates(Content(text=exceeds, image=image))
        (cut,), (whole,) = (
            encoder.encode([Content(text=text, image=image)], Side.QUERY)
            for text in (exceeds, fits)
        )
        close(dense(cut), dense(whole), 1e-6)


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, VistaRecipe, "vista"))
