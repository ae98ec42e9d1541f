"""UniIR's BLIP_FF against the authors' numbers."""

import copy

import pytest
import torch
from engines import build_engines
from golden import golden_cases
from tiny_towers import (
    MIXED,
    Golden,
    allowed,
    blip_network,
    close,
    dense,
    exported_blip,
    noise,
    normed,
    pixels,
    same_alone,
    same_scores,
    same_texts,
)

from tamis.models.encoders.uniir_blip_ff import UniIRBlipFF
from tamis.models.networks.uniir import Blip, BlipJoint, BlipStates
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

METHOD = "uniir_blip_ff"
TOLERANCE = 5e-5  # the golden data's own


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return exported_blip(request.param, tmp_path_factory.mktemp(METHOD), METHOD)


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> UniIRBlipFF:
    return UniIRBlipFF(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def network(golden: Golden) -> Blip:
    return blip_network(golden, projected=False)


@torch.no_grad()
def test_its_networks_are_the_authors(golden: Golden, network: Blip) -> None:
    inputs, outputs = golden.inputs, golden.outputs
    states = BlipStates(network)(inputs["pixel_values"])
    close(states.numpy(), outputs["image_hidden"], TOLERANCE)
    made = BlipJoint(network)(inputs["text_ids"], inputs["text_attention_mask"], states)
    close(made.numpy(), outputs["embedding_raw"], TOLERANCE)


@torch.no_grad()
def test_its_graphs_are_the_authors(golden: Golden, network: Blip) -> None:
    inputs, outputs = golden.inputs, golden.outputs
    ids, mask = inputs["text_ids"], inputs["text_attention_mask"]
    precise = copy.deepcopy(network).double()
    exact = BlipJoint(precise)(ids, mask, BlipStates(precise)(inputs["pixel_values"].double()))
    tolerance = allowed(outputs["embedding_raw"], exact, TOLERANCE)
    image = golden.session(TowersRecipe, METHOD, "image")
    states = image.run({"pixels": inputs["pixel_values"].numpy()})["states"]
    close(states, outputs["image_hidden"], TOLERANCE)
    joint = golden.session(TowersRecipe, METHOD, "joint")
    raw = joint.run({"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "image": states})[
        "embedding"
    ]
    close(raw, outputs["embedding_raw"], tolerance)
    same_scores(golden, raw, tolerance)


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: UniIRBlipFF) -> None:
    """A missing picture is a tensor of zeros, attended to like any other."""
    same_texts(golden, encoder, TOLERANCE)


@torch.no_grad()
def test_a_picture_alone_is_read_with_the_empty_text(
    golden: Golden, encoder: UniIRBlipFF, network: Blip
) -> None:
    recipe = ModelFolder.open(golden.folder, TowersRecipe, METHOD).recipe
    ids = torch.tensor([golden.marks])
    states = BlipStates(network)(pixels(recipe, noise()))
    expected = BlipJoint(network)(ids, torch.ones_like(ids), states)
    (made,) = encoder.encode([Content(image=noise())], Side.DOCUMENT)
    close(dense(made), normed(expected)[0], TOLERANCE)


def test_a_content_is_encoded_alone_as_in_a_batch(encoder: UniIRBlipFF) -> None:
    same_alone(encoder, MIXED, Side.QUERY)


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, TowersRecipe, METHOD))
