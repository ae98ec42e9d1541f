"""Draws pictures on a sheet, with what a refiner made of their visual tokens."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from tamis.models.runtimes.fit import fit, scaled

SIDE = 240  # of one picture, in pixels
GAP = 12
LINE = 18
FADED = 0.22  # how much of a place shows whose token is not there any more
TINT = 0.4  # how much of a place is its group's colour
ALONE = (214, 39, 40)
GREY = (187, 187, 187)
GOLDEN = (math.sqrt(5) - 1) / 2  # of a turn: hues that follow each other so are never close
CHARACTER = 6.3  # pixels, of the text on a sheet
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of a sheet.

    Attributes:
        image: The picture; where it has tokens, just that part which the encoder reads.
        title: The line below it.
        owners: For each place of the grid, in raster order, the place of the token that stands for
            it, and -1 where none does; None for a picture without tokens.
        grid: Rows and columns of the tokens.
    """

    image: Image.Image
    title: str
    owners: Sequence[int] | None = None
    grid: tuple[int, int] = (1, 1)


def selected(places: Sequence[int], grid: tuple[int, int]) -> list[int]:
    """The owners where tokens were kept at some places, and the others dropped."""
    kept = set(places)
    return [place if place in kept else -1 for place in range(grid[0] * grid[1])]


def sheet(
    heading: str, pictures: Sequence[Shown], columns: int = 6, side: int = SIDE
) -> Image.Image:
    """All pictures on one sheet, with a legend if any has tokens.

    Args:
        heading: The line above them.
        pictures: What is shown, row by row.
        columns: Pictures in a row, at most.
        side: Of the square that a picture has, in pixels.
    """
    columns = max(1, min(columns, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, cell = columns * (side + GAP) + GAP, side + LINE + GAP
    legend = any(shown.owners is not None for shown in pictures)
    page = Image.new("RGB", (width, 2 * LINE + rows * cell + GAP + legend * LINE), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    draw.text((GAP, GAP), heading[: int(width / CHARACTER)], fill="black", font=font)
    for i, shown in enumerate(pictures):
        x, y = GAP + (i % columns) * (side + GAP), 2 * LINE + (i // columns) * cell
        page.paste(tokens_on(shown, side), (x, y))
        draw.rectangle((x, y, x + side - 1, y + side - 1), outline=GREY)
        title = shown.title[: int(side / CHARACTER)]
        draw.text((x, y + side + 2), title, fill="black", font=font)
    if legend:
        _explain(page, (GAP, page.height - LINE - GAP // 2))
    return page


def tokens_on(shown: Shown, side: int = SIDE) -> Image.Image:
    """A square with the picture in it, and its tokens by colour.

    A kept token's place is outlined; where it stands for others too, in a colour that they share.
    The others' places are faded, and those of dropped tokens without a colour.
    """
    if shown.owners is None:
        return Image.fromarray(fit(shown.image, side))
    picture = shown.image.resize(scaled(shown.image.size, side), Image.Resampling.BICUBIC)
    made = Image.blend(Image.new("RGB", picture.size, "white"), picture, FADED)
    colours = _colours(shown.owners)
    kept = [place for place, owner in enumerate(shown.owners) if owner == place]
    for place, owner in enumerate(shown.owners):
        if owner not in (-1, place):
            _tint(made, _box(place, shown.grid, picture.size), colours[owner])
    for place in kept:
        box = _box(place, shown.grid, picture.size)
        made.paste(picture.crop(box), box)
        _outline(made, box, colours.get(place, ALONE))
    return Image.fromarray(fit(made, side))


def _colours(owners: Sequence[int]) -> dict[int, Colour]:
    """A colour for each token that stands for others."""
    groups = sorted({owner for place, owner in enumerate(owners) if owner not in (-1, place)})
    return {owner: _colour(number) for number, owner in enumerate(groups)}


def _colour(number: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(0.33 + number * GOLDEN, 0.9, 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def _box(place: int, grid: tuple[int, int], size: tuple[int, int]) -> Box:
    """Left, top, right and bottom of a place, in pixels."""
    rows, columns = grid
    row, column = divmod(place, columns)
    width, height = size
    return (
        column * width // columns,
        row * height // rows,
        (column + 1) * width // columns,
        (row + 1) * height // rows,
    )


def _tint(image: Image.Image, box: Box, colour: Colour) -> None:
    part = image.crop(box)
    image.paste(Image.blend(part, Image.new("RGB", part.size, colour), TINT), box)


def _outline(image: Image.Image, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    thick = max(1, (right - left) // 12)
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), None, colour, thick)


def _explain(page: Image.Image, at: tuple[int, int]) -> None:
    """A line that says what the colours mean."""
    (x, y), draw, font = at, ImageDraw.Draw(page), ImageFont.load_default(12)
    shared = _colour(0)
    swatches: list[tuple[str, Colour | None, Colour | None]] = [
        ("kept", None, ALONE),
        ("kept, for others too", None, shared),
        ("merged into it", shared, None),
        ("dropped", None, None),
    ]
    for text, fill, outline in swatches:
        box = (x, y, x + LINE - 5, y + LINE - 5)
        draw.rectangle(box, "#eeeeee")
        if fill:
            _tint(page, box, fill)
        if outline:
            _outline(page, box, outline)
        draw.text((x + LINE, y - 1), text, fill="black", font=font)
        x += LINE + int(len(text) * CHARACTER) + GAP
