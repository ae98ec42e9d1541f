"""ColPali's and ColQwen2's networks give what the authors' code gives, whatever the padding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from golden_vlm import (
    counted,
    model_of,
    page_positions,
    patch_inputs,
    places_of,
    tensors,
    visual_tokens,
)
from tiny_vlm import QWEN2_VL, scattered
from torch import Tensor

from tamis.models.export import colpali, qwen2_vl
from tamis.models.export.checkpoint import load, read_tensors
from tamis.models.networks import paligemma
from tamis.models.networks.decoder import Decoder
from tamis.models.networks.prompted import LastToken, MultiVector
from tamis.models.networks.qwen2_vl import Vision, shapes
from tamis.models.runtimes.patches import Patching

TOLERANCE = 2e-5


def run(
    model: torch.nn.Module, given: dict[str, np.ndarray], side: str, positions: np.ndarray,
    visual: np.ndarray, image_token: int,
) -> np.ndarray:  # fmt: skip
    ids = given[f"{side}_ids"]
    arrays = {
        "input_ids": ids,
        "attention_mask": given[f"{side}_mask"],
        "positions": positions,
        "visual": visual,
        "visual_places": places_of(ids, image_token),
    }
    with torch.no_grad():
        made: Tensor = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    return made.numpy()


@pytest.mark.parametrize("case", golden_cases("colpali_model"))
def test_colpali_is_the_authors(case: Path) -> None:
    config, (given, expected) = model_of(case), tensors(case)
    language = Decoder(paligemma.shape_of(config["text_config"]))
    model = MultiVector(paligemma.Vision(config), language, config["embedding_dim"]).eval()
    load(model, read_tensors(case / "weights.safetensors"), rename=colpali.renamed)
    with torch.no_grad():
        tokens = model.visual(torch.from_numpy(given["pixel_values"])).flatten(0, 1).numpy()
    token = config["image_token_index"]
    for side in ("doc", "query"):
        made = run(model, given, side, counted(given[f"{side}_ids"], 1), tokens, token)
        assert np.abs(made - expected[f"{side}.embeddings"]).max() <= TOLERANCE


@pytest.mark.parametrize("case", golden_cases("colqwen2_model"))
def test_colqwen2_is_the_authors(case: Path) -> None:
    config, (given, expected) = model_of(case), tensors(case)
    vision, language = shapes(config)
    model = MultiVector(Vision(vision), Decoder(language), config["embedding_dim"]).eval()
    load(model, read_tensors(case / "weights.safetensors"), rename=qwen2_vl.renamed)
    token = (vision.patch * vision.merge) ** 2
    patching = Patching(
        patch=vision.patch, merge=vision.merge, min_pixels=token, max_pixels=64 * token
    )
    inputs = {k: torch.from_numpy(v) for k, v in patch_inputs(given, patching).items()}
    with torch.no_grad():
        visual = visual_tokens(model.visual(**inputs).numpy(), given, patching)
    assert np.abs(visual - expected["vision_tokens"]).max() <= TOLERANCE
    positions = {
        "doc": page_positions(given, config["image_token_id"], vision.merge),
        "query": counted(given["query_ids"], 3),
    }
    for side, where in positions.items():
        made = run(model, given, side, where, visual, config["image_token_id"])
        assert np.abs(made - expected[f"{side}.embeddings"]).max() <= TOLERANCE


@torch.no_grad()
def test_padding_on_either_side_changes_nothing() -> None:
    vision, language = shapes(QWEN2_VL)
    model = LastToken(Vision(vision), Decoder(language)).eval()
    model.load_state_dict(scattered(model))
    ids = torch.randint(0, 200, (1, 9), generator=torch.Generator().manual_seed(0))
    nobody, width = torch.full((1, 9), -1), language.width
    where = torch.arange(9).expand(3, 1, 9)
    (alone,) = model(ids, torch.ones(1, 9).long(), where, torch.zeros(1, width), nobody)
    for left, right in ((4, 0), (0, 4), (3, 5)):
        pad = (left, right)
        padded = [torch.nn.functional.pad(tensor, pad, value=value) for tensor, value in (
            (ids, 7), (torch.ones(1, 9).long(), 0), (where, 0)
        )]  # fmt: skip
        places = torch.nn.functional.pad(nobody, pad, value=-1)
        (made,) = model(*padded, torch.zeros(1, width), places)
        assert (made - alone).abs().max() <= 1e-6


@torch.no_grad()
def test_a_vector_of_length_0_stays_0() -> None:
    vision, language = shapes(QWEN2_VL)
    model = MultiVector(Vision(vision), Decoder(language), 4).eval()
    torch.nn.init.zeros_(model.custom_text_proj.weight)
    torch.nn.init.zeros_(model.custom_text_proj.bias)
    ids = torch.zeros(1, 2).long()
    made = model(ids, ids + 1, ids.expand(3, 1, 2), torch.zeros(1, 32), ids - 1)
    assert not made.any()
