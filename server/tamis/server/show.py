"""Draws what a search found: the pictures, with the visual tokens that the refiner kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from tamis.models.runtimes.fit import fit

SIDE = 240  # of one picture, in pixels
GAP = 12
LINE = 18
FADED = 0.22  # how much of a dropped token's place shows


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of a sheet.

    Attributes:
        image: The picture.
        title: The line below it.
        kept: The places of the tokens that were kept, in raster order; None for no tokens at all.
        grid: Rows and columns of the tokens.
    """

    image: Image.Image
    title: str
    kept: Sequence[int] | None = None
    grid: tuple[int, int] = (1, 1)


def sheet(heading: str, pictures: Sequence[Shown], columns: int = 6) -> Image.Image:
    """All pictures on one sheet, `columns` in a row; dropped tokens are faded."""
    rows = math.ceil(len(pictures) / columns) or 1
    cell = SIDE + LINE + GAP
    size = (columns * (SIDE + GAP) + GAP, 2 * LINE + rows * cell + GAP)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    draw.text((GAP, GAP), heading, fill="black", font=font)
    for i, shown in enumerate(pictures):
        x = GAP + (i % columns) * (SIDE + GAP)
        y = 2 * LINE + (i // columns) * cell
        page.paste(tokens_on(shown), (x, y))
        draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline="#bbbbbb")
        draw.text((x, y + SIDE + 2), shown.title[:38], fill="black", font=font)
    return page


def tokens_on(shown: Shown) -> Image.Image:
    """The picture as the encoder saw it, each dropped token faded and each kept one outlined."""
    picture = Image.fromarray(fit(shown.image, SIDE))
    if shown.kept is None:
        return picture
    rows, columns = shown.grid
    faded = Image.blend(Image.new("RGB", picture.size, "white"), picture, FADED)
    draw = ImageDraw.Draw(faded)
    for place in shown.kept:
        row, column = divmod(place, columns)
        box = (
            column * SIDE // columns,
            row * SIDE // rows,
            (column + 1) * SIDE // columns,
            (row + 1) * SIDE // rows,
        )
        faded.paste(picture.crop(box), box)
        draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="#d62728")
    return faded
