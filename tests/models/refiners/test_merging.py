"""What merges visual tokens, against the authors' outputs and plain second implementations."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tamis.models.refiners.llavolta import LLaVolta
from tamis.models.refiners.mustdrop import MustDrop, window_similarity
from tamis.models.refiners.mustdrop_prefill import MustDropPrefill
from tamis.models.refiners.prumerge import PruMerge
from tamis.models.refiners.tome import ToMe
from tamis.models.refiners.visionzip import VisionZip
from tamis.models.types import VisualTokens


def visual(
    embeddings: np.ndarray,
    attention: np.ndarray | None = None,
    keys: np.ndarray | None = None,
    grid: tuple[int, int] | None = None,
) -> VisualTokens:
    count = len(embeddings)
    attention = np.full(count, 1 / count) if attention is None else attention
    return VisualTokens(embeddings, attention, np.arange(count), grid or (1, count), keys)


def tensors(case: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return load_file(case / "inputs.safetensors"), load_file(case / "outputs.safetensors")


@pytest.mark.parametrize("case", golden_cases("visionzip"))
def test_visionzip_gives_what_the_authors_code_gives(case: Path) -> None:
    inputs, outputs = tensors(case)
    for name, (dominant, contextual) in json.loads((case / "config.json").read_text())[
        "budgets"
    ].items():
        budget = dominant + contextual
        method = VisionZip(budget=budget, contextual=contextual / budget)
        for row, hidden in enumerate(inputs["hidden"]):
            attention = inputs["attention"][row, :, 0, 1:].sum(axis=0)
            keys = inputs["key_metric"][row, 1:]
            made = method.refine(visual(hidden[1:], attention, keys))
            best = outputs[f"{name}.dominant_by_score"][row][1:] - 1
            is_dominant = np.isin(made.positions, best)
            expected = outputs[f"{name}.tokens"][row]
            ours = np.concatenate([made.embeddings[is_dominant], made.embeddings[~is_dominant]])
            assert np.array_equal(made.positions[is_dominant], np.sort(best))
            assert ours == pytest.approx(expected[1:], abs=1e-5)


def attention_of_one_head(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """What [CLS] attends to, over the full width, as the authors compute it."""
    logits = key @ query[0] / np.sqrt(query.shape[1])
    shares = np.exp(logits - logits.max())
    attention: np.ndarray = (shares / shares.sum())[1:]
    return attention


@pytest.mark.parametrize("case", golden_cases("prumerge"))
def test_prumerge_gives_what_the_authors_code_gives(case: Path) -> None:
    config, (inputs, outputs) = json.loads((case / "config.json").read_text()), tensors(case)
    for row in range(len(inputs["hidden"])):
        query, key, hidden = (inputs[name][row] for name in ("q", "k", "hidden"))
        attention = attention_of_one_head(query, key)
        assert attention == pytest.approx(outputs[f"image{row}.cls_attention"][0], abs=1e-5)
        tokens = visual(hidden[1:], attention, key[1:])
        fixed = int(config["fixed_ratio"] * len(tokens))
        for name, method in {
            "adaptive": PruMerge(budget=len(tokens) - 1, neighbours=config["neighbours"]),
            "fixed": PruMerge(budget=fixed + 1, adaptive=False, neighbours=config["neighbours"]),
        }.items():
            order = outputs[f"image{row}.{name}.kept_by_score"][0]
            assert method.order(tokens).tolist() == order.tolist()
            made = method.refine(tokens)
            *kept, extra = outputs[f"image{row}.{name}.tokens"][0]
            places = {int(place): token for place, token in zip(order, kept, strict=True)}
            for place, token in zip(made.positions, made.embeddings, strict=True):
                assert token == pytest.approx(places.pop(int(place), extra), abs=1e-4)
            assert not places


def test_prumerge_keeps_fewer_where_fewer_stand_out(rng: np.random.Generator) -> None:
    attention = np.full(100, 0.001)
    attention[[7, 50]] = 0.4
    made = PruMerge(budget=64).refine(visual(rng.normal(size=(100, 8)), attention))
    assert len(made) == 3
    assert {7, 50} < set(made.positions.tolist())


@pytest.mark.parametrize("case", golden_cases("mustdrop"))
def test_mustdrop_merges_the_windows_that_the_authors_code_merges(case: Path) -> None:
    config, (inputs, outputs) = json.loads((case / "config.json").read_text()), tensors(case)
    side = config["grid"]
    method = MustDrop(similarity=config["similarity"], window=config["window"][0])
    for name in sorted({name.rpartition(".")[0] for name in inputs if "stage1" in name}):
        expected = {key: outputs[f"{name}.{key}"] for key in ("merged", "size", "source")}
        merged = int((expected["size"][0, 1:, 0] > 1).sum())  # the fewest of the batch
        for row, hidden in enumerate(inputs[f"{name}.hidden"]):
            tokens = visual(hidden[1:], grid=(side, side))
            likeness = window_similarity(tokens.embeddings, method.windows(tokens))
            assert likeness == pytest.approx(outputs[f"{name}.window_similarity"][row], abs=1e-5)
            plan = method.merge(tokens, merged)
            source = (plan.matrix(len(tokens)) > 0).astype(int)
            made = plan.apply(tokens).embeddings
            theirs = expected["source"][row, 1:, 1:].astype(int)
            order = [int(np.flatnonzero((source == row_of).all(axis=1))[0]) for row_of in theirs]
            assert sorted(order) == list(range(len(plan)))
            assert made[order] == pytest.approx(expected["merged"][row, 1:], abs=1e-5)


@pytest.mark.parametrize("case", golden_cases("mustdrop"))
def test_mustdrop_finds_the_key_tokens_that_the_authors_code_finds(case: Path) -> None:
    inputs, outputs = tensors(case)
    for row, heads in enumerate(inputs["keyset.attention"]):
        keys = MustDropPrefill().keys(heads[:, 0, 1:].mean(axis=0))
        assert keys.tolist() == outputs["keyset.indices_by_score"][row].tolist()


def test_mustdrop_merges_an_image_whatever_is_beside_it(rng: np.random.Generator) -> None:
    """A patch of one colour is merged; noise is not."""
    embeddings = rng.normal(size=(6, 6, 32))
    embeddings[:3, 3:] = embeddings[0, 5]
    made = MustDrop(budget=35).refine(visual(embeddings.reshape(36, 32), grid=(6, 6)))
    assert len(made) == 36 - 8
    assert 1 * 6 + 4 in made.positions  # the window's middle


def test_llavolta_is_an_average_pool(rng: np.random.Generator) -> None:
    embeddings = rng.normal(size=(60, 7)).astype(np.float32)
    made = LLaVolta(budget=10).refine(visual(embeddings))
    expected = torch.nn.functional.avg_pool1d(torch.from_numpy(embeddings.T), 6, 6).numpy().T
    assert made.embeddings == pytest.approx(expected, abs=1e-6)


@given(count=st.integers(2, 40), budget=st.integers(1, 40))
def test_llavolta_averages_a_shorter_last_run_too(count: int, budget: int) -> None:
    made = LLaVolta(budget=budget).refine(visual(np.ones((count, 3))))
    assert len(made) <= budget
    assert made.embeddings == pytest.approx(np.ones((len(made), 3)))


def merged_by_twos(metric: np.ndarray, budget: int) -> list[list[int]]:
    """Token Merging's rule in plain Python, one pair after another."""
    groups = [[i] for i in range(len(metric))]
    while len(groups) > budget:
        means = [metric[group].mean(axis=0) for group in groups]
        units = np.array([mean / np.linalg.norm(mean) for mean in means])
        seek, stay = range(0, len(groups), 2), range(1, len(groups), 2)
        likeness = {i: units[i] @ units[1::2].T for i in seek}
        closest = sorted(seek, key=lambda i: (-likeness[i].max(), i))
        for i in closest[: min(len(groups) - budget, len(stay))]:
            groups[stay[int(likeness[i].argmax())]] += groups[i]
            groups[i] = []
        groups = [group for group in groups if group]
    return sorted(sorted(group) for group in groups)


@given(seed=st.integers(0, 200), budget=st.integers(1, 11))
def test_tome_merges_the_closest_pairs(seed: int, budget: int) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(12, 5)).astype(np.float32)
    matrix = ToMe(budget=budget).plan(visual(embeddings)).matrix(12)
    groups = sorted(np.flatnonzero(row).tolist() for row in matrix)
    assert groups == merged_by_twos(embeddings, budget)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(budget))


def test_what_is_merged_into_one_token_is_the_mean_of_all(rng: np.random.Generator) -> None:
    embeddings = rng.normal(size=(25, 6))
    made = ToMe(budget=1).refine(visual(embeddings))
    assert made.embeddings[0] == pytest.approx(embeddings.mean(axis=0), abs=1e-6)
    assert made.attention[0] == pytest.approx(1)
