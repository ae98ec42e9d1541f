"""UniIR's CLIP_SF against the authors' numbers."""

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
    same_sums,
    same_texts,
)

from tamis.models.blocks.text_cleaning import sentence
from tamis.models.encoders.uniir_clip_sf import UniIRClipSF
from tamis.models.export.clip_weights import Hints, towers
from tamis.models.networks.clip import ClipTowers
from tamis.models.networks.clip_graphs import ImageGraph, TextGraph
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TextRule, TowersRecipe
from tamis.models.types import Content, Side

METHOD = "uniir_clip_sf"
TOLERANCE = 5e-5  # the golden data's own


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    case: Path = request.param
    heads = json.loads((case / "config.json").read_text())["clip"]["transformer_heads"]
    folder = tmp_path_factory.mktemp(METHOD)
    return exported(case, folder, METHOD, {"text_heads": str(heads)})


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> UniIRClipSF:
    return UniIRClipSF(folder=str(golden.folder), threads=1)


@pytest.fixture(scope="module")
def network(golden: Golden) -> ClipTowers:
    said = Hints(text_heads=golden.config["clip"]["transformer_heads"])
    return towers(golden.weights, said, prefix="clip_model.").eval()


@torch.no_grad()
def test_its_towers_are_the_authors(golden: Golden, network: ClipTowers) -> None:
    inputs, outputs = golden.inputs, golden.outputs
    text = TextGraph(network.text)(inputs["text_ids"])
    image = ImageGraph(network.visual)(inputs["pixel_values"])
    close(text.numpy(), outputs["text_features"], TOLERANCE)
    close(image.numpy(), outputs["image_features"], TOLERANCE)
    raw = text * inputs["txt_mask"][:, None] + image * inputs["img_mask"][:, None]
    close(raw.numpy(), outputs["embedding_raw"], TOLERANCE)


def test_its_graphs_are_the_authors(golden: Golden) -> None:
    same_sums(golden, METHOD, TOLERANCE, input_ids="text_ids")


def test_texts_are_served_as_the_authors_embed_them(golden: Golden, encoder: UniIRClipSF) -> None:
    same_texts(golden, encoder, TOLERANCE)


@torch.no_grad()
def test_a_pair_is_the_sum_of_its_parts_before_they_are_normed(
    golden: Golden, encoder: UniIRClipSF, network: ClipTowers
) -> None:
    recipe = ModelFolder.open(golden.folder, TowersRecipe, METHOD).recipe
    start, end = golden.marks
    text = TextGraph(network.text)(torch.tensor([[start, 4, 5, end]]))
    image = ImageGraph(network.visual)(pixels(recipe, noise()))
    for side in Side:
        made = encoder.encode(
            [
                Content(text="w4 w5", image=noise()),
                Content(text="w4 w5"),
                Content(image=noise(), text=" "),
            ],
            side,
        )
        for encoding, expected in zip(made, (text + image, text, image), strict=True):
            close(dense(encoding), normed(expected)[0], 1e-5)
            assert encoding.heads.keys() == encoder.heads.keys() == {"dense"}


def test_a_content_is_encoded_alone_as_in_a_batch(encoder: UniIRClipSF) -> None:
    same_alone(encoder, MIXED, Side.QUERY)


def test_an_instruction_is_read_before_a_query_only(encoder: UniIRClipSF) -> None:
    asked, told = Content(text="w4", instruction="w5 w6."), Content(text="w5 w6 w4")
    (query,), (expected,) = (encoder.encode([c], Side.QUERY) for c in (asked, told))
    close(dense(query), dense(expected), 1e-6)
    (document,), (plain,) = (
        encoder.encode([c], Side.DOCUMENT) for c in (asked, Content(text="w4"))
    )
    close(dense(document), dense(plain), 1e-6)
    (image, pair) = encoder.encode(
        [Content(image=noise()), Content(image=noise(), instruction="w5")], Side.QUERY
    )
    assert np.abs(dense(image) - dense(pair)).max() > 1e-3


def test_a_content_without_anything_has_no_vector(encoder: UniIRClipSF) -> None:
    made = encoder.encode([Content(), Content(text=" ")], Side.DOCUMENT)
    assert [dict(encoding.heads) for encoding in made] == [{}, {}]


@pytest.mark.parametrize("case", golden_cases(METHOD))
def test_texts_are_cleaned_as_the_authors_do(case: Path) -> None:
    told = json.loads((case / "outputs.json").read_text())
    for text, expected in told["format_string"]:
        assert sentence(text) == expected
    rule = TextRule(max_tokens=77, sentence=True, instructed=True)
    for prompt, query, expected in told["query_with_prompt"]:
        assert rule.text(Content(text=query, instruction=prompt), Side.QUERY) == expected


def test_tensorrt_builds_its_engines(golden: Golden) -> None:
    build_engines(ModelFolder.open(golden.folder, TowersRecipe, METHOD))
