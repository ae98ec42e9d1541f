"""The committed vision-language model answers questions about pictures drawn here."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tamis.models.train.easy_vqa import EasyVqa, Question
from tamis.models.train.mini_vlm_accuracy import accuracy
from tamis.models.train.mini_vlm_model import WEIGHTS, load

COLOURS = {"red": "red", "blue": "blue", "green": "lime", "yellow": "yellow", "black": "black"}
SHAPES = ("circle", "rectangle", "triangle")


def drawn(shape: str, colour: str) -> np.ndarray:
    """A picture in the manner of easy-VQA's."""
    picture = Image.new("RGB", (64, 64), (240, 245, 250))
    draw, box = ImageDraw.Draw(picture), (18, 20, 46, 44)
    match shape:
        case "circle":
            draw.ellipse((18, 20, 44, 46), fill=colour)
        case "rectangle":
            draw.rectangle(box, fill=colour)
        case _:
            draw.polygon([(32, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour)
    return np.asarray(picture)


@pytest.fixture(scope="module")
def data() -> EasyVqa:
    pictures: list[np.ndarray] = []
    questions: list[Question] = []
    for colour, paint in COLOURS.items():
        for shape in SHAPES:
            other = SHAPES[SHAPES.index(shape) - 1]
            asked = {
                "what color is the shape?": colour,
                "what shape is present?": shape,
                f"is there a {colour} shape?": "yes",
                "is there not a teal shape?": "yes",
                f"does the image not contain a {shape}?": "no",
                f"is a {other} present?": "no",
            }
            questions += [Question(text, asked[text], len(pictures)) for text in asked]
            pictures.append(drawn(shape, paint))
    return EasyVqa(np.stack(pictures), questions)


def test_answers_far_above_chance(data: EasyVqa) -> None:
    """Whoever says yes, red and circle always is right in a third of the cases."""
    model, words = load()
    assert accuracy(model, words, data) >= 0.8
    blind = EasyVqa(np.full_like(data.pictures, 250), data.questions)
    assert accuracy(model, words, blind) <= 0.6


def test_the_folder_is_small_and_plain() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 6 << 20
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["model_type"] == "llava"
    assert config["dtype"] == "float16"
    assert {file.suffix for file in WEIGHTS.iterdir()} == {".json", ".md", ".safetensors"}
