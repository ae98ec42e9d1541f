"""The rules of pictures that lie beside weights, against the processors that they configure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.preprocessing import transform
from tamis.models.runtimes.transform import HALF, ImageTransform

SIDE = 32


def beside(folder: Path, name: str, said: dict[str, Any]) -> Checkpoint:
    (folder / name).write_text(json.dumps(said))
    return Checkpoint.open(folder)


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        CLIPImageProcessorPil(
            size={"shortest_edge": 40}, crop_size={"height": SIDE, "width": SIDE}
        ),
        SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=2),
    ],
    ids=["clip", "clip, a larger edge", "siglip, bilinear"],
)
def test_a_processors_own_file_gives_its_rule(processor: Any, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    rule = transform(Checkpoint.open(tmp_path), SIDE)
    values = np.random.default_rng(0).integers(0, 256, (51, 70, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    assert np.array_equal(rule(image), expected)


def test_the_old_form_with_one_number_is_read(tmp_path: Path) -> None:
    said = {"size": SIDE, "crop_size": SIDE, "resample": 3}
    made = transform(beside(tmp_path, "preprocessor_config.json", said), SIDE)
    assert made == ImageTransform(resize="shortest", height=SIDE, width=SIDE)


@pytest.mark.parametrize(
    ("mode", "rule"), [("shortest", "shortest"), ("squash", "stretch"), ("longest", "pad")]
)
def test_open_clips_words_are_ours(tmp_path: Path, mode: str, rule: str) -> None:
    said = {"preprocess_cfg": {"mean": HALF, "std": HALF, "resize_mode": mode}}
    made = transform(beside(tmp_path, "open_clip_config.json", said), SIDE)
    assert (made.resize, made.mean, made.std, made.centre) == (rule, HALF, HALF, "even")


def test_without_a_file_it_is_openais(tmp_path: Path) -> None:
    made = transform(Checkpoint.open(tmp_path), SIDE)
    assert made == ImageTransform(resize="shortest", height=SIDE, width=SIDE, centre="even")


def test_another_size_than_the_towers_is_refused(tmp_path: Path) -> None:
    checkpoint = beside(tmp_path, "preprocessor_config.json", {"size": {"height": 40, "width": 40}})
    with pytest.raises(ModelError, match="40 x 40 pixels, and the tower reads 32 x 32"):
        transform(checkpoint, SIDE)
