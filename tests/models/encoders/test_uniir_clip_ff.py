"""UniIR's CLIP_FF against the authors' numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from golden import golden_cases
from tiny_towers import (
    MIXED,
    Golden,
    close,
    dense,
    exported,
    noise,
    normed,
    pixels,
    same_alone,
    same_scores,
    same_texts,
)

from tamis.models.encoders.uniir_clip_ff import UniIRClipFF
from tamis.models.export.checkpoint import load
from tamis.models.export.clip_weights import Hints, towers
from tamis.models.export.uniir_clip_ff import t5_config
from tamis.models.networks.clip import ClipTowers
from tamis.models.networks.clip_graphs import StatesGraph
from tamis.models.networks.uniir import T5Fusion
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

METHOD = "uniir_clip_ff"
TOLERANCE = 5e-5  # the golden data's own
Networks = tuple[ClipTowers, T5Fusion]


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    case: Path = request.param
    heads = json.loads((case / "config.json").read_text())["clip"]["transformer_heads"]
    return exported(case, tmp_path_factory.mktemp(METHOD), METHOD, {"text_heads": str(heads)})


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> UniIRClipFF:
    return UniIRClipFF(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def networks(golden: Golden) -> Networks:
    said = Hints(text_heads=golden.config["clip"]["transformer_heads"])
    clip = towers(golden.weights, said, prefix="clip_model.", ignore=("t5_layers.*",)).eval()
    fusion = T5Fusion(t5_config(golden.weights)).eval()
    load(fusion, golden.weights, ignore=("clip_model.*",))
    return clip, fusion


@torch.no_grad()
def test_its_networks_are_the_authors(golden: Golden, networks: Networks) -> None:
    clip, fusion = networks
    inputs, outputs = golden.inputs, golden.outputs
    text = clip.text(inputs["text_ids"])
    image = StatesGraph(clip.visual)(inputs["pixel_values"])
    close(text.numpy(), outputs["text_hidden"], TOLERANCE)
    close(image.numpy(), outputs["image_hidden"], TOLERANCE)
    close(fusion(text, image).numpy(), outputs["embedding_raw"], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden) -> None:
    inputs, outputs = golden.inputs, golden.outputs
    image = golden.session(TowersRecipe, METHOD, "image")
    states = image.run({"pixels": inputs["pixel_values"].numpy()})["states"]
    close(states, outputs["image_hidden"], TOLERANCE)
    joint = golden.session(TowersRecipe, METHOD, "joint")
    raw = joint.run({"input_ids": inputs["text_ids"].numpy(), "image": states})["embedding"]
    close(raw, outputs["embedding_raw"], TOLERANCE)
    same_scores(golden, raw, TOLERANCE)


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: UniIRClipFF) -> None:
    """A missing picture is a tensor of zeros, attended to like any other."""
    same_texts(golden, encoder, TOLERANCE)


@torch.no_grad()
def test_padding_takes_part_in_the_mean(
    golden: Golden, encoder: UniIRClipFF, networks: Networks
) -> None:
    """Every text is padded to the context's length: one less would be another vector."""
    clip, fusion = networks
    recipe = ModelFolder.open(golden.folder, TowersRecipe, METHOD).recipe
    start, end = golden.marks
    ids = torch.zeros(1, recipe.text.max_tokens, dtype=torch.long)
    ids[0, :4] = torch.tensor([start, 4, 5, end])
    states = StatesGraph(clip.visual)(pixels(recipe, noise()))
    whole, shorter = (fusion(clip.text(each), states) for each in (ids, ids[:, :-1]))
    (made,) = encoder.encode([Content(text="w4 w5", image=noise())], Side.QUERY)
    close(dense(made), normed(whole)[0], 1e-5)
    assert np.abs(dense(made) - normed(shorter)[0]).max() > 1e-4


def test_a_content_is_encoded_alone_as_in_a_batch(encoder: UniIRClipFF) -> None:
    same_alone(encoder, MIXED, Side.QUERY)
    assert encoder.encode([Content(text=" "), Content()], Side.QUERY)[0].heads == {}


def test_what_a_content_costs_and_what_is_cut(golden: Golden, encoder: UniIRClipFF) -> None:
    assert encoder.heads.keys() == {"dense"}
    recipe = ModelFolder.open(golden.folder, TowersRecipe, METHOD).recipe
    patches, context = recipe.grid[0] * recipe.grid[1], recipe.text.max_tokens
    assert encoder.cost(Content(text="w4", image=noise())) == context + patches
    assert encoder.cost(Content(image=noise())) == patches
    assert not encoder.truncates(Content(text="w4 " * (context - 2)))
    assert encoder.truncates(Content(text="w4 " * (context - 1)))


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, TowersRecipe, METHOD))
