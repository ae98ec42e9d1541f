"""UniIR's BLIP_SF against the authors' numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from tiny_towers import MIXED, Golden, close, dense, exported, noise, normed, pixels, same_alone

from tamis.models.encoders.uniir_blip_sf import UniIRBlipSF
from tamis.models.export.blip_weights import blip
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.networks.uniir import Blip, BlipImage, BlipText
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

METHOD = "uniir_blip_sf"
TOLERANCE = 5e-5  # the golden data's own


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    case: Path = request.param
    said = json.loads((case / "config.json").read_text())
    heads = {"vision_heads": str(said["vit"]["num_heads"])}
    return exported(case, tmp_path_factory.mktemp(METHOD), METHOD, heads, said["med"])


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> UniIRBlipSF:
    return UniIRBlipSF(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def network(golden: Golden) -> Blip:
    heads = {"vision_heads": str(golden.config["vit"]["num_heads"])}
    source = Checkpoint.open(golden.folder.parent / "source")
    return blip(source, heads, projected=True).eval()


@torch.no_grad()
def test_its_towers_are_the_authors(golden: Golden, network: Blip) -> None:
    """Momentum copies and queues, which hold other values, lie in the checkpoint too."""
    inputs, outputs = golden.inputs, golden.outputs
    text = BlipText(network)(inputs["text_ids"], inputs["text_attention_mask"])
    image = BlipImage(network)(inputs["pixel_values"])
    close(text.numpy(), outputs["text_features"], TOLERANCE)
    close(image.numpy(), outputs["image_features"], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden) -> None:
    inputs, outputs = golden.inputs, golden.outputs
    text = golden.session(TowersRecipe, METHOD, "text")
    image = golden.session(TowersRecipe, METHOD, "image")
    texts = text.run(
        {
            "input_ids": inputs["text_ids"].numpy(),
            "attention_mask": inputs["text_attention_mask"].numpy(),
        }
    )["embedding"]
    images = image.run({"pixels": inputs["pixel_values"].numpy()})["embedding"]
    close(texts, outputs["text_features"], TOLERANCE)
    close(images, outputs["image_features"], TOLERANCE)
    raw = texts * inputs["txt_mask"].numpy()[:, None] + images * inputs["img_mask"].numpy()[:, None]
    embedding = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    close(embedding, outputs["embedding"], TOLERANCE)
    close(embedding @ embedding.T, outputs["scores"], TOLERANCE)


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: UniIRBlipSF) -> None:
    rows = [row for row, there in enumerate(golden.inputs["img_mask"]) if not there]
    made = encoder.encode([Content(text=golden.text(row)) for row in rows], Side.DOCUMENT)
    expected = golden.outputs["embedding"][rows]
    close(np.stack([dense(encoding) for encoding in made]), expected, TOLERANCE)


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
