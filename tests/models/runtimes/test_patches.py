"""Qwen2-VL's patches and positions, against transformers' own."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_vlm import QWEN2_VL
from transformers import Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from tamis.models.runtimes.patches import Patching, rope_positions

PATCHING = Patching(min_pixels=56 * 56, max_pixels=28 * 28 * 60)


def picture(width: int, height: int) -> Image.Image:
    noise = Image.effect_noise((width, height), 80)
    bands = (noise, noise.rotate(90).resize(noise.size), Image.linear_gradient("L"))
    return Image.merge("RGB", [band.resize(noise.size) for band in bands])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (27, 29), (101, 67), (640, 481), (90, 1300)])
def test_patches_are_those_of_transformers(width: int, height: int) -> None:
    bounds = {"shortest_edge": PATCHING.min_pixels, "longest_edge": PATCHING.max_pixels}
    processor = Qwen2VLImageProcessorPil(size=bounds)
    image = picture(width, height)
    expected = processor(images=[image], return_tensors="np")
    rows, columns = PATCHING.grid(image)
    assert expected["image_grid_thw"].tolist() == [[1, rows, columns]]
    assert np.abs(PATCHING.patches(image) - expected["pixel_values"]).max() <= 1e-6


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_sizes_are_whole_tokens_within_bounds(width: int, height: int) -> None:
    across, down = PATCHING.size(width, height)
    assert across % 28 == down % 28 == 0
    assert min(across, down) > 0
    ratio = max(width, height) / min(width, height)
    if ratio < 50:  # a line of tokens cannot be made thinner
        assert across * down <= PATCHING.max_pixels
    assert across * down >= PATCHING.min_pixels
    if ratio < 50 and min(width, height) >= 28:
        expected = smart_resize(height, width, 28, PATCHING.min_pixels, PATCHING.max_pixels)
        assert (down, across) == expected


def test_a_side_is_for_pictures_larger_than_a_token() -> None:
    patching = Patching(min_pixels=28 * 28, max_pixels=2560 * 28 * 28, side=748)
    assert patching.size(1000, 30) == patching.size(50, 29) == (756, 756)
    assert patching.size(28, 28) == (28, 28)


def test_places_follow_the_patches() -> None:
    patching = Patching(patch=2, merge=2, frames=1, min_pixels=16, max_pixels=4096)
    numbers = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
    image = Image.fromarray(numbers).convert("RGB")
    patches, places = patching.patches(image), patching.places(patching.grid(image))
    first = patches[:, 0] * patching.std[0] + patching.mean[0]
    assert np.round(first * 255).astype(int).tolist() == [
        numbers[2 * row, 2 * column] for row, column in places
    ]


@pytest.mark.parametrize(("low", "high"), [(100, 10_000), (10_000, 5_000)])
def test_bounds_below_a_token_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"{low} and {high}, where a visual token is 784 pixels"):
        Patching(min_pixels=low, max_pixels=high)


def test_positions_are_those_of_transformers() -> None:
    grids = [(4, 6), (2, 10)]
    counts = [rows * columns // 4 for rows, columns in grids]
    visual = [False] * 3 + [True] * counts[0] + [False] * 2 + [True] * counts[1] + [False]
    kinds: Any = torch.tensor([visual]).int()
    ids: Any = torch.zeros_like(kinds).long()
    thw: Any = torch.tensor([[1, rows, columns] for rows, columns in grids])
    model = Qwen2VLModel(Qwen2VLConfig(**QWEN2_VL))
    expected, _ = model.get_rope_index(ids, kinds, thw)
    assert np.array_equal(rope_positions(visual, grids, 2), expected[:, 0].numpy())


@given(st.integers(0, 20))
def test_words_are_counted_on_all_axes(count: int) -> None:
    positions = rope_positions([False] * count, [], 2)
    assert positions.shape == (3, count)
    for axis in positions:
        assert all(b - a == 1 for a, b in pairwise(axis.tolist()))
