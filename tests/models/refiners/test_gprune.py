"""G-Prune, against the authors' scores and the powers of its matrix in float64."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden import golden_cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.refiners import Refiner
from tamis.models.refiners.gprune import GPrune
from tamis.models.types import VisualTokens


def visual(embeddings: np.ndarray) -> VisualTokens:
    count = len(embeddings)
    return VisualTokens(embeddings, np.full(count, 1 / count), np.arange(count), (1, count))


def scores(embeddings: np.ndarray, pruner: GPrune) -> np.ndarray:
    """The authors' steps in float64: a missing link is a logit of -5000, the matrix is multiplied
    out, and what starts as the tokens' norms is shared among the links."""
    vectors = embeddings.astype(float)
    norms = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.maximum(np.outer(norms, norms), 1e-12)
    cosines[cosines < pruner.similarity] = 0
    logits = cosines / pruner.temperature
    logits[np.abs(logits) < 1e-6] = -5000
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    flow = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32).astype(float)
    held = norms @ np.linalg.matrix_power(flow, pruner.iterations)
    shared: np.ndarray = held / (flow > 0).sum(axis=1)
    return shared


@given(
    seed=st.integers(0, 999),
    similarity=st.sampled_from([0.0, 0.1, 0.5, 0.95]),
    temperature=st.sampled_from([0.01, 0.03, 0.2]),
    iterations=st.integers(0, 7),
)
def test_the_score_is_a_power_of_the_matrix(
    seed: int, similarity: float, temperature: float, iterations: int
) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(14, 4))
    pruner = GPrune(similarity=similarity, temperature=temperature, iterations=iterations)
    expected = scores(embeddings, pruner)
    assert pruner.score(visual(embeddings)) == pytest.approx(expected, rel=1e-4)


def test_the_order_of_the_tokens_is_of_no_matter(
    tokens: VisualTokens, rng: np.random.Generator
) -> None:
    order = rng.permutation(len(tokens))
    shuffled = GPrune().score(visual(tokens.embeddings[order]))
    assert shuffled == pytest.approx(GPrune().score(tokens)[order], rel=1e-5)


def test_the_scale_of_all_tokens_is_of_no_matter(tokens: VisualTokens) -> None:
    pruner = GPrune(budget=7)
    larger = visual(tokens.embeddings * 100)
    assert np.array_equal(pruner.refine(larger).positions, pruner.refine(tokens).positions)


def test_a_token_without_content_does_no_harm() -> None:
    """It is like nothing, itself included, and passes what it is given to all."""
    embeddings = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    made = GPrune().score(visual(embeddings))
    assert made == pytest.approx(scores(embeddings, GPrune()), rel=1e-4)


def test_near_duplicates_share_what_they_hold() -> None:
    """As published: of a large cluster no token outranks those that stand alone."""
    alone = np.eye(6)[:5]
    cluster = np.tile(np.eye(6)[5], (20, 1))
    kept = GPrune(budget=5).refine(visual(np.concatenate([alone, cluster])))
    assert kept.positions.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"similarity": -0.5}, r"similarity must be from 0 to 1, not -0\.5"),
        ({"temperature": 0.0}, r"temperature must be above 0, not 0\.0"),
        ({"iterations": -1}, r"iterations must be at least 0, not -1"),
        ({"budget": 0}, r"budget must be at least 1 token, not 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(table: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Refiner, "gprune", table)


@pytest.mark.parametrize("case", golden_cases("gprune"))
def test_it_keeps_what_the_authors_code_keeps(case: Path) -> None:
    """The base image and the larger picture are two graphs; each row of the latter ends in a token
    that is in no graph and always kept."""
    config = json.loads((case / "config.json").read_text())
    rows, columns, base = config["rows"], config["cols"], config["base_tokens"]
    features = load_file(case / "inputs.safetensors")["image_feature"]
    outputs = load_file(case / "outputs.safetensors")
    places = base + np.arange(rows * (columns + 1)).reshape(rows, columns + 1)
    graphs = {"base": np.arange(base), "hires": places[:, :-1].ravel()}
    for ratio in config["keep_ratios"]:
        for iterations in config["iterations"]:
            name = f"keep{ratio}.iter{iterations}"
            kept = [places[:, -1]]
            for graph, where in graphs.items():
                tokens, budget = visual(features[where]), int(ratio * len(where))
                pruner = GPrune(
                    budget=max(budget, 1),
                    similarity=config["similarity"],
                    temperature=config["temperature"],
                    iterations=iterations,
                )
                expected = outputs[f"{name}.score_{graph}"]
                assert pruner.score(tokens) == pytest.approx(expected, rel=1e-4)
                kept.append(where[pruner.refine(tokens).positions][:budget])
            assert np.sort(np.concatenate(kept)).tolist() == outputs[f"{name}.kept"].tolist()
