"""UniIR's BLIP_SF against the authors' numbers."""

import pytest
import torch
from engines import build_engines
from golden import golden_cases
from tiny_towers import (
    MIXED,
    Golden,
    blip_network,
    close,
    dense,
    exported_blip,
    noise,
    normed,
    pixels,
    same_alone,
    same_sums,
    same_texts,
)

from tamis.models.encoders.uniir_blip_sf import UniIRBlipSF
from tamis.models.networks.uniir import Blip, BlipImage, BlipText
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

METHOD = "uniir_blip_sf"
TOLERANCE = 5e-5  # the golden data's own


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return exported_blip(request.param, tmp_path_factory.mktemp(METHOD), METHOD)


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> UniIRBlipSF:
    return UniIRBlipSF(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def network(golden: Golden) -> Blip:
    return blip_network(golden, projected=True)


@torch.no_grad()
def test_its_towers_are_the_authors(golden: Golden, network: Blip) -> None:
    """Momentum copies and queues, which hold other values, lie in the checkpoint too."""
    inputs, outputs = golden.inputs, golden.outputs
    text = BlipText(network)(inputs["text_ids"], inputs["text_attention_mask"])
    image = BlipImage(network)(inputs["pixel_values"])
    close(text.numpy(), outputs["text_features"], TOLERANCE)
    close(image.numpy(), outputs["image_features"], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden) -> None:
    same_sums(golden, METHOD, TOLERANCE, input_ids="text_ids", attention_mask="text_attention_mask")


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: UniIRBlipSF) -> None:
    same_texts(golden, encoder, TOLERANCE)


@torch.no_grad()
def test_a_pair_is_the_sum_of_its_parts_before_they_are_normed(
    golden: Golden, encoder: UniIRBlipSF, network: Blip
) -> None:
    recipe = ModelFolder.open(golden.folder, TowersRecipe, METHOD).recipe
    start, end = golden.marks
    ids = torch.tensor([[start, 4, 5, end]])
    text = BlipText(network)(ids, torch.ones_like(ids))
    image = BlipImage(network)(pixels(recipe, noise()))
    (made,) = encoder.encode([Content(text="w4 w5", image=noise())], Side.QUERY)
    close(dense(made), normed(text + image)[0], TOLERANCE)


def test_a_content_is_encoded_alone_as_in_a_batch(encoder: UniIRBlipSF) -> None:
    same_alone(encoder, MIXED, Side.QUERY)


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, TowersRecipe, METHOD))
