"""The rule by which every picture becomes the square that a vision tower reads."""

import io

import numpy as np
import pytest
from PIL import Image

from tamis.models.runtimes.fit import fit

RED = (200, 30, 40)


@pytest.mark.parametrize(("sides", "drawn"), [((40, 20), (96, 48)), ((300, 900), (32, 96))])
def test_keeps_the_aspect_and_centres_on_white(
    sides: tuple[int, int], drawn: tuple[int, int]
) -> None:
    pixels = fit(Image.new("RGB", sides, RED), 96)
    red = (pixels == RED).all(-1)
    assert (int(red.any(0).sum()), int(red.any(1).sum())) == drawn
    assert (pixels[~red] == 255).all()
    assert abs(int(red[:, 48].argmax()) - (96 - drawn[1]) // 2) <= 0


def test_a_line_is_never_lost() -> None:
    assert (fit(Image.new("RGB", (5000, 1), RED), 96) == RED).all(-1).sum() == 96


def test_lays_transparency_on_white() -> None:
    half = Image.new("RGBA", (10, 10), (0, 0, 0, 128))
    assert (np.abs(fit(half, 96).astype(int) - 127) <= 1).all()
    unseen = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert (fit(unseen, 96) == 255).all()


def test_lays_a_transparent_palette_on_white() -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, *RED])
    assert (fit(image, 96) == RED).all()
    image.info["transparency"] = 1
    assert (fit(image, 96) == 255).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"]
)
def test_reads_every_mode(mode: str) -> None:
    pixels = fit(Image.new(mode, (20, 30)), 96)
    assert pixels.shape == (96, 96, 3)
    assert pixels.dtype == np.uint8


def test_cmyk_keeps_its_colour() -> None:
    pixels = fit(Image.new("RGB", (10, 10), (255, 0, 0)).convert("CMYK"), 96)
    assert (pixels == (255, 0, 0)).all()


def test_16_bits_become_8_without_clipping() -> None:
    ramp = np.linspace(0, 65535, 96, dtype=np.uint16)
    image = Image.fromarray(np.tile(ramp, (96, 1)))
    row = fit(image, 96)[48, :, 0].astype(float)
    assert np.abs(row - np.linspace(0, 255, 96)).max() <= 1


def test_takes_the_first_frame() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("lime", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    image = Image.open(file)
    image.seek(1)
    assert (fit(image, 96) == (0, 255, 0)).all()


def test_turns_as_exif_says() -> None:
    image = Image.new("RGB", (20, 10), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, quality=100)
    pixels = fit(Image.open(file), 96)
    assert (pixels[:, 0] == 255).all()
    assert (pixels[0, 48] < 255).any()
