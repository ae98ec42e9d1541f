"""FLMR's and PreFLMR's networks give what the authors' code gives, scene by scene."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import golden_cases
from tiny_flmr import checkpoint_config, config_of, inputs_and_outputs

from tamis.models.export.checkpoint import load, read_tensors
from tamis.models.export.flmr import renaming
from tamis.models.networks.flmr import BERT_BASE, Flmr, Image, Side, complete

CASES = golden_cases("preflmr") + golden_cases("flmr")
TOLERANCE = 5e-5


def network(case: Path) -> Flmr:
    config = complete(checkpoint_config(case))
    model = Flmr(config, config.get("transformer_mapping_bert_config", BERT_BASE)).eval()
    tensors = read_tensors(case / "weights.safetensors")
    load(model, tensors, rename=renaming(config, tensors))
    return model


@torch.no_grad()
def query(case: Path, pixels: str, **change: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The words' rows, masked, and the picture's; several regions of a picture are in one row."""
    model, (given, expected) = network(case), inputs_and_outputs(case)
    seen = torch.from_numpy(given[pixels])
    regions = seen if seen.dim() == 5 else seen[:, None]
    features, patches = Image(model, "query")(regions.flatten(0, 1))
    inputs = {
        "input_ids": torch.from_numpy(given["query_input_ids"]),
        "attention_mask": torch.from_numpy(given["query_attention_mask"]),
        "features": features.unflatten(0, regions.shape[:2]),
    }
    side = Side(model, "query")
    text, image = side(**inputs | change, patches=patches if side.mapped else None)
    return text.numpy() * expected["query_row_mask"][..., None], image.numpy()


@pytest.mark.parametrize("case", CASES)
def test_queries_are_the_authors(case: Path) -> None:
    _, expected = inputs_and_outputs(case)
    text, image = query(case, "query_pixel_values")
    both = np.concatenate([text, image], axis=1)
    assert np.abs(both - expected["q_both.Q"]).max() <= TOLERANCE
    assert np.abs(text - expected["q_text.Q"]).max() <= TOLERANCE
    assert np.abs(image - expected["q_image.Q"]).max() <= TOLERANCE
    config = config_of(case)
    on_text, on_image = (np.array(config[f"listmask_{part}"]) for part in ("text", "vision"))
    kept = np.concatenate([text * on_text[:, None, None], image * on_image[:, None, None]], axis=1)
    assert np.abs(kept - expected["q_listmask.Q"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_a_black_picture_stands_for_none(case: Path) -> None:
    _, expected = inputs_and_outputs(case)
    black = np.concatenate(query(case, "query_pixel_values_black"), axis=1)
    assert np.abs(black - expected["q_black.Q"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", golden_cases("flmr"))
def test_regions_and_features_that_are_given_are_read(case: Path) -> None:
    given, expected = inputs_and_outputs(case)
    if "query_pixel_values_roi" in given:
        regions = np.concatenate(query(case, "query_pixel_values_roi"), axis=1)
        assert np.abs(regions - expected["q_roi.Q"]).max() <= TOLERANCE
    if "query_image_features" in given:
        features = torch.from_numpy(given["query_image_features"])
        features = features if features.dim() == 3 else features[:, None]
        made = np.concatenate(query(case, "query_pixel_values", features=features), axis=1)
        assert np.abs(made - expected["q_feat.Q"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_documents_are_the_authors(case: Path) -> None:
    model, (given, expected) = network(case), inputs_and_outputs(case)
    features, _ = Image(model, "context")(torch.from_numpy(given["context_pixel_values"]))
    text, image = Side(model, "context")(
        torch.from_numpy(given["context_input_ids"]),
        torch.from_numpy(given["context_attention_mask"]),
        features[:, None],
    )
    both = np.concatenate([image.numpy(), text.numpy()], axis=1) * expected["d_both.mask"]
    assert np.abs(both - expected["d_both.D"]).max() <= TOLERANCE
    assert np.abs(text.numpy() * expected["d_text.mask"] - expected["d_text.D"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", golden_cases("preflmr"))
@torch.no_grad()
def test_every_patch_sees_the_last_one(case: Path) -> None:
    model = network(case)
    width = model.transformer_mapping_input_linear.out_features
    patches, words = torch.randn(1, 6, width), torch.randn(1, 3, width)
    before = model.transformer_mapping_network(patches, words)
    patches[:, -1] += 1
    after = model.transformer_mapping_network(patches, words)
    assert (after - before)[0, 0].abs().max() > 1e-4


@pytest.mark.parametrize(
    ("vision", "parameters"),
    [
        ({}, 327e6),
        ({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
          "num_attention_heads": 16, "patch_size": 14}, 543e6),
        ({"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48,
          "num_attention_heads": 16, "patch_size": 14, "hidden_act": "gelu"}, 2.1e9),
    ],
    ids=["ViT-B", "ViT-L", "ViT-G"],
)  # fmt: skip
def test_a_published_preflmr_has_as_many_weights_as_its_authors_say(
    vision: dict[str, Any], parameters: float
) -> None:
    config = {
        "vision_config": vision,
        "use_transformer_mapping_network": True,
        "separate_query_and_context_text_encoder": True,
    }
    with torch.device("meta"):
        model = Flmr(complete(config))
    count = sum(place.numel() for place in model.parameters())
    assert count == pytest.approx(parameters, rel=0.03)
