"""Pictures that callers send: of every kind, and damaged in every way."""

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tamis.models.errors import ImageError
from tamis.models.runtimes.images import decode

ENOUGH = 40_000_000


def encoded(image: Image.Image, encoding: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([across, down, 255 - across]).astype(np.uint8))


def png(width: int, height: int) -> bytes:
    """A PNG that says it is that large, and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, max_pixels=ENOUGH)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("encoding", ["PNG", "BMP", "TIFF"])
def test_a_lossless_picture_comes_back_to_the_pixel(encoding: str) -> None:
    assert np.array_equal(pixels(encoded(gradient(), encoding)), np.asarray(gradient()))


@pytest.mark.parametrize("encoding", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_back_nearly(encoding: str) -> None:
    data = encoded(gradient(), encoding, quality=95)
    assert np.abs(pixels(data) - np.asarray(gradient())).mean() < 8


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError) as refusal:
        decode(png(30_000, 30_000), max_pixels=ENOUGH)
    assert str(refusal.value) == "30000 x 30000 = 900000000 pixels; at most 40000000"


def test_the_limit_itself_is_allowed() -> None:
    assert decode(encoded(gradient(40, 30)), max_pixels=1200).size == (40, 30)
    with pytest.raises(ImageError, match="40 x 30 = 1200 pixels; at most 1199"):
        decode(encoded(gradient(40, 30)), max_pixels=1199)


@pytest.mark.parametrize(
    "svg",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<SVG/>',
    ],
)
def test_svg_is_named(svg: bytes) -> None:
    with pytest.raises(ImageError, match=r"^SVG is not a picture that we read: JPEG, PNG"):
        decode(svg, max_pixels=ENOUGH)


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 100, b"%PDF-1.7", b"8BPS\0\1"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^not a picture that we read: JPEG, PNG"):
        decode(data, max_pixels=ENOUGH)


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_refused(encoding: str) -> None:
    data = encoded(gradient(200, 200), encoding)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2], max_pixels=ENOUGH)


def test_of_an_animation_the_first_frame_is_seen() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    data = encoded(red, "GIF", save_all=True, append_images=[blue])
    assert (pixels(data) == [255, 0, 0]).all()


def test_cmyk_is_converted() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert (np.abs(pixels(encoded(cyan, "TIFF")) - [0, 255, 255]) <= 2).all()


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = np.full((4, 4), 0x8000, dtype=np.uint16)
    assert (pixels(encoded(Image.fromarray(grey))) == 128).all()


def test_transparency_is_laid_on_white() -> None:
    glass = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (pixels(encoded(glass)) == 255).all()
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert (np.abs(pixels(encoded(half)) - [255, 127, 127]) <= 1).all()


def test_a_transparent_palette_entry_is_laid_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putdata([0, 1])
    seen = pixels(encoded(palette, transparency=0))
    assert seen.tolist() == [[[255, 255, 255], [255, 0, 0]]]


@pytest.mark.parametrize("alpha", [bytes([0, 255]), bytes([128, 255])])
def test_a_palette_with_an_alpha_an_entry_is_laid_on_white(alpha: bytes) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putdata([0, 1])
    (left, right), shade = pixels(encoded(palette, transparency=alpha))[0], 255 - alpha[0]
    assert (np.abs(left - shade) <= 1).all()
    assert right.tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_other_modes_become_rgb(mode: str) -> None:
    data = encoded(Image.new("RGB", (4, 4), "white").convert(mode))
    assert (pixels(data) == 255).all()


def test_a_picture_is_turned_the_right_way_up() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    lying = Image.new("RGB", (40, 20), "white")
    lying.paste("black", (0, 0, 20, 20))
    seen = pixels(encoded(lying, "JPEG", exif=exif))
    assert seen.shape == (40, 20, 3)
    assert seen[:15].mean() < 20
    assert seen[25:].mean() > 235


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@given(data=st.data())
def test_damage_raises_nothing_else(encoding: str, data: st.DataObject) -> None:
    """Whatever bytes are changed, it is a picture or an `ImageError`."""
    whole = bytearray(encoded(gradient(16, 16), encoding))
    places = st.integers(0, len(whole) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=20)):
        whole[place] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(1, len(whole)))
    with suppress(ImageError):
        assert decode(bytes(whole[:kept]), max_pixels=ENOUGH).mode == "RGB"


@given(st.binary(max_size=200))
def test_any_bytes_after_a_signature_raise_nothing_else(tail: bytes) -> None:
    for signature in (b"\xff\xd8\xff\xe1", b"II*\0", b"MM\0*", b"GIF89a", b"BM", b"RIFF"):
        with pytest.raises(ImageError):
            decode(signature + tail, max_pixels=ENOUGH)


@pytest.mark.parametrize("encoding", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_damaged_metadata_warns_nobody(encoding: str) -> None:
    """Pillow's warnings would fill a server's log with what callers send."""
    exif = Image.Exif()
    exif[0x010F] = "maker"
    program = (
        "import sys; from tamis.models.runtimes.images import decode\n"
        "from tamis.models.errors import ImageError\n"
        "whole = sys.stdin.buffer.read()\n"
        "for i in range(min(len(whole), 400)):\n"
        "    for value in (0, 255):\n"
        "        try: decode(whole[:i] + bytes([value]) + whole[i + 1:], max_pixels=10**6)\n"
        "        except ImageError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        input=encoded(gradient(4, 4), encoding, exif=exif),
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
