"""Decodes the pictures that callers send, and trusts none of their bytes.

The size is read from the header and refused before a pixel is decoded; only formats that browsers
and cameras make are tried, each by the one decoder that its first bytes name.
"""

import logging
import warnings
from collections.abc import Callable
from io import BytesIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tamis.models.errors import ImageError
from tamis.models.runtimes.fit import opaque

READ = "JPEG, PNG, WEBP, GIF, BMP and TIFF are"
SIGNATURES: dict[bytes, Callable[[BytesIO], ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
}

# Pillow warns and logs of damaged metadata: callers would write the server's log. For the whole
# process, because `catch_warnings` is not for threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def decode(data: bytes, *, max_pixels: int) -> Image:
    """The picture in mode RGB: its first frame, the right way up, on white where it is transparent.

    Args:
        data: A file's bytes.
        max_pixels: How many pixels it may have.

    Raises:
        ImageError: The bytes are not a picture that we read, or one that is too large.
    """
    opener = _opener(data)
    try:
        with opener(BytesIO(data)) as image:
            _check(image, max_pixels)
            image.load()
            return opaque(image)
    except ImageError:
        raise
    except DecompressionBombError as error:  # of a decoder that looks before we can
        raise ImageError(f"{error}; at most {max_pixels}") from error
    except Exception as error:  # a decoder raises what it likes at bytes that it did not expect
        reason = str(error) or type(error).__name__
        raise ImageError(f"the picture is damaged: {reason}") from error


def _check(image: Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} = {width * height} pixels; at most {max_pixels}")


def _opener(data: bytes) -> Callable[[BytesIO], ImageFile]:
    """The decoder that the first bytes ask for.

    Raises:
        ImageError: There is none.
    """
    for signature, opener in SIGNATURES.items():
        if data.startswith(signature):
            return opener
    if b"<svg" in data[:4096].lower():
        raise ImageError(f"SVG is not a picture that we read: {READ}; draw it first")
    raise ImageError(f"not a picture that we read: {READ}")
