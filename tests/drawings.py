"""Small pictures and documents for tests: shapes that differ in form and colour."""

import io
from functools import cache

from PIL import Image, ImageDraw

from tamis.client import Document

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow")


@cache
def drawing(shape: str, colour: str, side: int = 96, encoding: str = "PNG") -> bytes:
    """A picture's file: one shape on white."""
    image = Image.new("RGB", (side, side), "white")
    draw, box = ImageDraw.Draw(image), (side // 6, side // 6, side - side // 6, side - side // 6)
    match shape:
        case "circle":
            draw.ellipse(box, fill=colour)
        case "square":
            draw.rectangle(box, fill=colour)
        case _:
            draw.polygon([(side // 2, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour)
    file = io.BytesIO()
    image.save(file, encoding)
    return file.getvalue()


def documents() -> list[Document]:
    """Twelve captioned drawings."""
    return [
        Document(
            id=f"{colour}-{shape}",
            text=f"A {colour} {shape}.",
            image=drawing(shape, colour),
            metadata={"shape": shape, "colour": colour, "corners": corners},
        )
        for corners, shape in zip((0, 4, 3), SHAPES, strict=True)
        for colour in COLOURS
    ]
