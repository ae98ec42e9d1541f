"""DivPrune, against the authors' picks, the greedy rule and the best of all subsets."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tamis.models.refiners.divprune import DivPrune
from tamis.models.types import VisualTokens


def visual(embeddings: np.ndarray) -> VisualTokens:
    count = len(embeddings)
    return VisualTokens(embeddings, np.full(count, 1 / count), np.arange(count), (1, count))


def distances(embeddings: np.ndarray) -> np.ndarray:
    vectors = embeddings.astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def greedy(embeddings: np.ndarray, budget: int) -> list[int]:
    """The rule as the paper's algorithm has it: begin with the loneliest, add the farthest."""
    distance = distances(embeddings)
    everyone = range(len(embeddings))
    kept: list[int] = []
    while len(kept) < budget:
        rest = [i for i in everyone if i not in kept]

        def reach(i: int) -> float:
            return min(distance[i, j] for j in (kept or everyone) if j != i)

        kept.append(max(rest, key=lambda i: (reach(i), -i)))
    return kept


@given(seed=st.integers(0, 999), budget=st.integers(1, 11))
def test_each_pick_is_the_farthest_from_those_before(seed: int, budget: int) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(12, 6))
    assert DivPrune(budget=budget).select(visual(embeddings)).tolist() == greedy(embeddings, budget)


@pytest.mark.parametrize("budget", [2, 3, 4])
def test_it_is_within_the_greedy_bound_of_the_best_subset(
    tokens: VisualTokens, budget: int
) -> None:
    """Farthest-point selection is a 2-approximation of max-min diversity in a metric.

    Cosine distance is half the squared Euclidean distance of unit vectors, so the bound squares.
    """
    few = tokens.take(np.arange(10))
    distance = distances(few.embeddings)

    def spread(kept: tuple[int, ...]) -> float:
        return min(distance[i, j] for i, j in combinations(kept, 2))

    best = max(spread(subset) for subset in combinations(range(10), budget))
    assert spread(tuple(DivPrune(budget=budget).select(few).tolist())) >= best / 4


def test_of_equals_the_first_is_kept() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert DivPrune(budget=2).select(visual(embeddings)).tolist() == [0, 2]


def test_the_length_of_a_token_is_of_no_matter(tokens: VisualTokens) -> None:
    lengths = np.linspace(0.1, 10, len(tokens))[:, None]
    scaled = visual(tokens.embeddings * lengths)
    pruner = DivPrune(budget=7)
    assert pruner.select(scaled).tolist() == pruner.select(tokens).tolist()


@pytest.mark.parametrize("case", golden_cases("divprune"))
def test_it_picks_what_the_authors_code_picks(case: Path) -> None:
    config = json.loads((case / "config.json").read_text())
    inputs, outputs = (
        load_file(case / "inputs.safetensors"),
        load_file(case / "outputs.safetensors"),
    )
    for name in config["sets"]:
        tokens = visual(inputs[name])
        for ratio in config["ratios"]:
            budget = round(ratio * len(tokens))
            if not 0 < budget < len(tokens):
                continue
            pruner = DivPrune(budget=budget)
            assert pruner.select(tokens).tolist() == outputs[f"{name}.r{ratio}.order"].tolist()
            kept = pruner.refine(tokens).positions
            assert kept.tolist() == outputs[f"{name}.r{ratio}.sorted"].tolist()
