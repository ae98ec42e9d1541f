"""Pictures as a tower reads them, against the processors of transformers."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from drawings import drawing
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tamis.models.errors import ImageError
from tamis.models.runtimes.fit import opaque
from tamis.models.runtimes.transform import HALF, ImageTransform

SIDE = 56
CLIP = ImageTransform(resize="shortest", height=SIDE, width=SIDE)
CASES = {
    "clip": (
        CLIP,
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
    ),
    "clip, a larger edge": (
        ImageTransform(resize="shortest", height=SIDE, width=SIDE, edge=64),
        CLIPImageProcessorPil(
            size={"shortest_edge": 64}, crop_size={"height": SIDE, "width": SIDE}
        ),
    ),
    "siglip": (
        ImageTransform(resize="stretch", height=SIDE, width=SIDE, mean=HALF, std=HALF),
        SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
    ),
    "blip": (
        ImageTransform(resize="stretch", height=SIDE, width=SIDE),
        BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
    ),
    "irra": (
        ImageTransform(resize="stretch", height=96, width=32, resample="bilinear"),
        BlipImageProcessorPil(size={"height": 96, "width": 32}, resample=Image.Resampling.BILINEAR),
    ),
}
SIZES = [(56, 56), (57, 120), (301, 90), (1, 9), (33, 34), (640, 427)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def drawn(shape: str = "triangle") -> Image.Image:
    return Image.open(BytesIO(drawing(shape, "blue", 131))).convert("RGB")


def reference(processor: Any, image: Image.Image) -> np.ndarray:
    pixels: np.ndarray = processor(image, return_tensors="np")["pixel_values"][0]
    return pixels


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_reference_processor_to_the_last_bit(case: str) -> None:
    transform, processor = CASES[case]
    for image in [drawn("circle"), drawn(), *(noise(*size) for size in SIZES)]:
        made = transform(image)
        assert made.dtype == np.float32
        assert np.array_equal(made, reference(processor, image))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_a_mode_without_transparency_is_read_as_the_reference_reads_it(mode: str) -> None:
    image = noise(70, 90).convert(mode)
    assert np.array_equal(CLIP(image), reference(CASES["clip"][1], image))


@pytest.mark.parametrize(
    "image",
    [
        Image.merge("RGBA", (*noise(70, 90).split(), noise(70, 90, 1).getchannel(0))),
        noise(70, 90).convert("LA"),
        Image.fromarray(np.arange(7000, dtype=np.uint16).reshape(70, 100) * 9),
        Image.fromarray(np.linspace(-1, 3, 7000, dtype=np.float32).reshape(70, 100)),
    ],
    ids=["RGBA", "LA", "16 bits", "float"],
)
def test_what_the_reference_garbles_is_first_made_what_the_server_decodes(
    image: Image.Image,
) -> None:
    assert np.array_equal(CLIP(image), reference(CASES["clip"][1], opaque(image)))


def test_an_orientation_is_followed() -> None:
    image, upright = noise(70, 90), noise(70, 90).transpose(Image.Transpose.ROTATE_270)
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(file, "PNG", exif=exif)
    assert np.array_equal(CLIP(Image.open(file)), CLIP(upright))


@pytest.mark.parametrize("mode", ["LAB", "La"])
def test_an_unknown_mode_is_named(mode: str) -> None:
    with pytest.raises(ImageError, match=f"a picture of mode {mode}: known are 1, L, LA, "):
        CLIP(Image.new(mode, (9, 9)))


def test_torchvision_rounds_an_odd_margin_to_even() -> None:
    """Its `int(round(excess / 2))`: 1 -> 0, 3 -> 2, where transformers has 0 and 1."""
    column = np.arange(59, dtype=np.uint8).repeat(3).reshape(59, 1, 3).repeat(56, axis=1)
    image = Image.fromarray(column)
    even = ImageTransform(resize="shortest", height=SIDE, width=SIDE, centre="even")
    assert (CLIP.pixels(image)[0, 0, 0], even.pixels(image)[0, 0, 0]) == (1, 2)


def test_padding_keeps_the_whole_picture() -> None:
    transform = ImageTransform(resize="pad", height=40, width=60, fill=(1, 2, 3))
    made = transform.pixels(Image.new("RGB", (100, 50), "white"))
    assert (made[5:35] == 255).all()
    assert (made[:5] == (1, 2, 3)).all()
    assert (made[35:] == (1, 2, 3)).all()


def test_a_thin_picture_costs_no_more_than_its_crop() -> None:
    """Resized whole, this one would be 500 million pixels; the part that is cut out is the same."""
    values = np.linspace(0, 255, 40_000).astype(np.uint8)
    image = Image.fromarray(np.stack([values] * 3, axis=1)[None])
    made = CLIP.pixels(image)
    middle = values[len(values) // 2]
    assert made.shape == (SIDE, SIDE, 3)
    assert np.abs(made.astype(int) - int(middle)).max() <= 1


def test_the_part_cut_from_a_long_picture_is_that_of_the_whole_one_resized() -> None:
    image = noise(2000, 100)
    width = SIDE * 2000 // 100
    left = (width - SIDE) // 2
    whole = image.resize((width, SIDE), Image.Resampling.BICUBIC)
    expected = np.asarray(whole.crop((left, 0, left + SIDE, SIDE)), dtype=int)
    assert np.abs(CLIP.pixels(image).astype(int) - expected).max() <= 1


@given(width=st.integers(1, 300), height=st.integers(1, 300), rule=st.sampled_from(list(CASES)))
def test_any_size_becomes_the_towers(width: int, height: int, rule: str) -> None:
    transform = CASES[rule][0]
    made = transform(Image.new("RGB", (width, height), "red"))
    assert made.shape == (3, transform.height, transform.width)
    assert np.ptp(made, axis=(1, 2)).max() == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resize": "crop"}, "resize must be one of shortest, stretch, pad, not 'crop'"),
        ({"resample": "box"}, "resample must be one of bicubic, .*, not 'box'"),
        ({"centre": "up"}, "centre must be one of down, even, not 'up'"),
        ({"mean": (0.5,)}, "mean must have 3 channels, not 1"),
        ({"std": (0.5, 0.5, 0.0)}, "std must be above 0"),
        ({"height": 0}, "must be above 0"),
        ({"edge": 40}, "edge must cover 56 x 56, not 40"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changed: dict[str, Any], message: str) -> None:
    make: Callable[..., ImageTransform] = ImageTransform
    with pytest.raises(ValueError, match=message):
        make(**{"resize": "shortest", "height": SIDE, "width": SIDE} | changed)


@pytest.mark.parametrize(
    "rule",
    [
        CLIP,
        ImageTransform(resize="shortest", height=28, width=SIDE, edge=60),
        ImageTransform(resize="stretch", height=28, width=SIDE),
        ImageTransform(resize="pad", height=SIDE, width=SIDE, fill=(9, 9, 9)),
    ],
)
def test_a_larger_rule_frames_a_picture_in_the_same_way(rule: ImageTransform) -> None:
    """Halves of two colours and a bright bar stay where they are."""
    image = Image.new("RGB", (300, 200), "blue")
    image.paste("red", (150, 0, 300, 200))
    image.paste("white", (0, 80, 300, 120))
    large = Image.fromarray(rule.larger(4).pixels(image))
    assert large.size == (4 * rule.width, 4 * rule.height)
    small = np.asarray(large.resize((rule.width, rule.height), Image.Resampling.BOX), dtype=float)
    difference = np.abs(small - rule.pixels(image))
    assert np.median(difference) <= 1
    assert (difference > 70).mean() < 0.02
