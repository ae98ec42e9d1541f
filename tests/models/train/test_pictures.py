"""What is kept away from training, and how names become captions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tamis.models.train.mini_recall import recalls
from tamis.models.train.pictures import spoken
from tamis.models.train.rasters import Job, rasterised, unlike_held_out


def picture(colour: str, mirrored: bool = False, side: int = 96) -> np.ndarray:
    image = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    low, high = side // 10, side - side // 10
    draw.polygon([(low, low), (high, side // 2), (low, high)], fill=colour)
    draw.rectangle((0, 0, side // 3, side // 3), fill="black")
    array = np.asarray(image.resize((96, 96)))
    return array[:, ::-1] if mirrored else array


def test_copies_and_mirror_images_of_held_out_stamps_are_left_out() -> None:
    pixels = np.stack(
        [
            picture("red"),
            picture("red"),
            picture("red", mirrored=True),
            picture("blue"),
            picture("red"),
        ]
    )
    sources = ["held_out", "openclipart", "noto", "noto", "validation"]
    assert unlike_held_out(pixels, sources).tolist() == [0, 3]


def test_a_copy_at_another_size_is_left_out() -> None:
    pixels = np.stack([picture("red"), picture("red", side=300)])
    assert unlike_held_out(pixels, ["held_out", "openclipart"]).tolist() == [0]


@pytest.mark.parametrize(
    ("name", "words"),
    [("grinning-face", "grinning face"), ("asl_zzz_3", "asl zzz"), ("redApple_01", "red apple")],
)
def test_names_are_spoken(name: str, words: str) -> None:
    assert spoken(name) == words


def test_an_unreadable_or_empty_picture_is_none(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.png", tmp_path / "empty.png"
    broken.write_bytes(b"no picture")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(empty)
    assert rasterised(Job("noto", ("x",), path=str(broken))) is None
    assert rasterised(Job("noto", ("x",), path=str(empty))) is None


def test_recall_counts_the_queries_whose_answer_is_near_the_top() -> None:
    scores = np.eye(20)
    scores[0] = np.arange(20)  # its own answer is last
    scores[1, 5:8] = 2  # three before its own
    assert recalls(scores) == [0.9, 0.95, 0.95]


def test_equal_scores_do_not_come_before() -> None:
    assert recalls(np.ones((20, 20))) == [1.0, 1.0, 1.0]
