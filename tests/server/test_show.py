"""The drawn tokens, by the colours at their places."""

import numpy as np
import pytest
from PIL import Image

from tamis.server.show import ALONE, LINE, Shown, selected, sheet, tokens_on

BLUE = (0, 0, 255)
SIDE = 120


def middle(image: Image.Image, place: int, grid: tuple[int, int]) -> np.ndarray:
    """The colour in the middle of a place of a square picture."""
    row, column = divmod(place, grid[1])
    x, y = (2 * column + 1) * SIDE // (2 * grid[1]), (2 * row + 1) * SIDE // (2 * grid[0])
    return np.array(image.getpixel((x, y)))


def corner(image: Image.Image, place: int, grid: tuple[int, int]) -> tuple[int, ...]:
    row, column = divmod(place, grid[1])
    found = image.getpixel((column * SIDE // grid[1], row * SIDE // grid[0]))
    assert isinstance(found, tuple)
    return found


@pytest.fixture
def blue() -> Image.Image:
    return Image.new("RGB", (48, 48), BLUE)


def test_kept_merged_and_dropped_tokens_differ(blue: Image.Image) -> None:
    """0 stands for 1, 4 for 5 and 8, 2 for itself; the others are gone."""
    grid = (3, 3)
    made = tokens_on(Shown(blue, "", [0, 0, 2, -1, 4, 4, -1, -1, 4], grid), SIDE)
    for kept in (0, 2, 4):
        assert middle(made, kept, grid).tolist() == list(BLUE)
    for dropped in (3, 6, 7):
        assert middle(made, dropped, grid).tolist() == [198, 198, 255]
    assert corner(made, 2, grid) == ALONE
    assert len({corner(made, place, grid) for place in (0, 2, 4)}) == 3
    first, second, third = (middle(made, place, grid) for place in (1, 5, 8))
    assert second.tolist() == third.tolist() != first.tolist()
    for own, owner in ((first, 0), (second, 4)):
        tinted = 0.6 * np.array([198, 198, 255]) + 0.4 * np.array(corner(made, owner, grid))
        assert own == pytest.approx(tinted, abs=2)


def test_a_grid_that_is_no_square_lies_on_its_picture() -> None:
    tall = Image.new("RGB", (24, 48), BLUE)
    made = tokens_on(Shown(tall, "", [0, -1], (2, 1)), SIDE)
    assert made.size == (SIDE, SIDE)
    assert made.getpixel((SIDE // 2, SIDE // 4)) == BLUE
    assert made.getpixel((SIDE // 2, 3 * SIDE // 4)) == (198, 198, 255)
    assert made.getpixel((SIDE // 8, SIDE // 4)) == (255, 255, 255)


def test_a_picture_without_tokens_is_drawn_as_it_is(blue: Image.Image) -> None:
    made = tokens_on(Shown(blue, "no tokens"), SIDE)
    assert np.unique(np.asarray(made).reshape(-1, 3), axis=0).tolist() == [list(BLUE)]


def test_a_sheet_has_a_legend_where_there_are_tokens(blue: Image.Image) -> None:
    plain = [Shown(blue, f"picture {i}") for i in range(3)]
    without = sheet("heading", plain, columns=2, side=SIDE)
    wide = sheet("heading", plain, columns=9, side=SIDE)
    with_tokens = [*plain[:2], Shown(blue, "three", selected([0, 3], (2, 2)), (2, 2))]
    assert sheet("heading", with_tokens, columns=2, side=SIDE).size == (
        without.width,
        without.height + LINE,
    )
    assert wide.width > without.width
    assert wide.height < without.height


def test_selected_tokens_own_their_places_and_no_others() -> None:
    assert selected([3, 0], (2, 3)) == [0, -1, -1, 3, -1, -1]
