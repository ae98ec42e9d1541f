"""Searches for schedules over questions, and what a pruned model answers rightly."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from tamis.models import catalog
from tamis.models.pruning import Pruning
from tamis.models.refiners import LayerRefiner
from tamis.models.refiners.fastv import FastV
from tamis.models.refiners.uniform import Uniform
from tamis.models.runtimes.hf.pruned_vlm import PrunedVlm
from tamis.models.schedule_file import read
from tamis.models.train import easy_vqa, g_search, p_sigmoid
from tamis.models.train.easy_vqa import EasyVqa, Words
from tamis.models.train.mini_vlm_accuracy import accuracy
from tamis.models.train.mini_vlm_model import config, load, publish
from tamis.models.train.pruned_answers import answered, drawn
from tamis.models.train.schedule_search import Calibration

QUESTIONS = [
    ["what color is the shape?", "red", 0],
    ["is there a circle?", "yes", 0],
    ["what shape is in the image?", "circle", 1],
    ["is there a red shape?", "no", 1],
    ["what shape is in the image?", "triangle", 2],
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of three pictures a side."""
    folder, rng = tmp_path_factory.mktemp("cache"), np.random.default_rng(0)
    with zipfile.ZipFile(folder / "easy_vqa-1.0-py3-none-any.whl", "w") as wheel:
        for side in ("train", "test"):
            wheel.writestr(f"easy_vqa/data/{side}/questions.json", json.dumps(QUESTIONS))
            for number in range(3):
                made = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(made, "png")
                name = f"easy_vqa/data/{side}/images/{number}.png"
                wheel.writestr(name, made.getvalue())
    return folder


@pytest.fixture(scope="module")
def data(cache: Path) -> EasyVqa:
    return easy_vqa.read(cache)["test"]


@pytest.fixture(scope="module")
def folder(data: EasyVqa, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing."""
    torch.manual_seed(0)
    words, out = Words.of(data.questions), tmp_path_factory.mktemp("model")
    publish(LlavaForConditionalGeneration(config(words)), words, out)
    return out


def test_without_pruning_it_answers_as_the_model_does(folder: Path, data: EasyVqa) -> None:
    model, words = load(folder)
    made = answered(PrunedVlm(model), words, data, drawn(data, 0))
    assert made.accuracy == accuracy(model, words, data)
    assert made.left == made.read == 1
    assert made.prefill_s > 0


def test_it_says_what_was_left_and_what_that_saved(folder: Path, data: EasyVqa) -> None:
    model, words = load(folder)
    vlm, questions = PrunedVlm(model), drawn(data, 0)
    whole = answered(vlm, words, data, questions)
    before = answered(vlm.pruned_by(Pruning(visual=Uniform(budget=16))), words, data, questions)
    assert before.left == before.read == 0.25
    inside = Pruning(inside=FastV(layer=2, budget=16))
    after = answered(vlm.pruned_by(inside), words, data, questions)
    layers = vlm.layers
    assert after.left == 0.25
    assert after.read == pytest.approx((2 + 0.25 * (layers - 2)) / layers)
    assert before.flops < after.flops < whole.flops


def test_questions_are_drawn_by_seed_and_kept_by_picture(data: EasyVqa) -> None:
    first, again, other = drawn(data, 3, 1), drawn(data, 3, 1), drawn(data, 3, 2)
    assert first == again != other
    assert len(first) == 3
    assert [q.picture for q in drawn(data, 99)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("main", "method", "more"),
    [
        (g_search.main, "g_search", ["--tolerance", "1"]),
        (p_sigmoid.main, "p_sigmoid", ["--budget", "0.25", "--rounds", "3"]),
    ],
)
def test_a_job_writes_a_schedule_that_its_refiner_reads(
    main: Callable[[list[str]], None],
    method: str,
    more: list[str],
    folder: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "schedule.json"
    main([str(folder), "--out", str(out), "--cache", str(cache), "--questions", "4", *more])
    found = read(out, method)
    assert len(found.rates) == 8
    assert found.questions == 4
    assert str(out) in capsys.readouterr().out
    if method == "g_search":  # any loss is allowed
        assert found.rates == (1.0, *[1 / 32] * 7)
    else:
        assert np.mean(found.rates) == pytest.approx(0.25, abs=1e-3)
    refiner: Any = catalog.load(LayerRefiner, method, {"schedule": str(out)})
    assert max(refiner.layers) < 8


def test_a_bad_argument_is_said_in_a_line(folder: Path, cache: Path, tmp_path: Path) -> None:
    more = ["--out", str(tmp_path / "a.json"), "--cache", str(cache)]
    with pytest.raises(SystemExit, match=r"error: .*model\.safetensors"):
        g_search.main([str(tmp_path), *more])
    with pytest.raises(SystemExit, match="error: needs 0 < bottom <= budget"):
        p_sigmoid.main([str(folder), *more, "--budget", "2"])


def test_no_curve_keeps_more_than_the_budget(folder: Path, data: EasyVqa) -> None:
    model, words = load(folder)
    tried = Calibration(PrunedVlm(model), words, data, drawn(data, 1))
    for budget in (0.5, 1 / 16, 1 / 64):
        found = p_sigmoid.search(tried, budget, rounds=6)
        assert np.mean(found.rates) <= budget + 1e-3
