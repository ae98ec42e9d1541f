"""What drops tokens from a key-value cache, against kvpress."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import golden_cases
from safetensors.numpy import load_file

from tamis.models import catalog
from tamis.models.blocks.rotary import mean_rotation, rotate
from tamis.models.errors import SettingsError
from tamis.models.kv import LayerCache, gathered
from tamis.models.refiners import KVRefiner, Refiner

# kvpress's names of the settings, and ours.
OURS = {
    "n_future_positions": "future",
    "n_sink": "sinks",
    "use_covariance": "covariance",
    "use_vnorm": "value_norm",
    "window_size": "window",
    "kernel_size": "kernel",
}
PRESSES = [
    name for name in catalog.names(Refiner) if issubclass(catalog.find(Refiner, name), KVRefiner)
]


def remembered(rng: np.random.Generator, tokens: int = 30) -> LayerCache:
    """Two key heads, four query heads of 8 dimensions."""
    keys, values = rng.normal(size=(2, 2, tokens, 8)).astype(np.float32)
    queries = rng.normal(size=(4, tokens, 8)).astype(np.float32)
    return LayerCache(keys, values, queries, 1 / 100 ** np.linspace(0, 1, 4))


def layers(case: Path, config: dict[str, Any]) -> list[LayerCache]:
    """What the tiny model remembers; its queries are made of what its attention reads."""
    outputs = load_file(case / "outputs.safetensors")
    weights = load_file(case / "weights.safetensors")
    heads = config["llama"]["num_attention_heads"]
    made = []
    for number in range(config["llama"]["num_hidden_layers"]):
        matrix = weights[f"model.layers.{number}.self_attn.q_proj.weight"]
        states = outputs[f"full.layer{number}.attn_input"][0] @ matrix.T
        made.append(
            LayerCache(
                outputs[f"full.layer{number}.keys"][0],
                outputs[f"full.layer{number}.values"][0],
                states.reshape(len(states), heads, -1).transpose(1, 0, 2),
                outputs["inv_freq"],
            )
        )
    return made


@pytest.mark.parametrize("case", golden_cases("kvpress"))
def test_a_press_keeps_what_kvpress_keeps(case: Path) -> None:
    config = json.loads((case / "config.json").read_text())
    outputs = load_file(case / "outputs.safetensors")
    for name, table in config["presses"].items():
        settings = {OURS.get(key, key): value for key, value in table.items()}
        for ratio in config["ratios"]:
            press = catalog.load(KVRefiner, name, {"ratio": ratio, **settings})
            for number, layer in enumerate(layers(case, config)):
                expected = f"{name}.r{ratio}.layer{number}"
                kept = press.select(layer)
                assert kept.tolist() == outputs[f"{expected}.kept_sorted"][0].tolist()
                if name != "streaming_llm":  # whose scores are 0 and 1 there
                    scores = outputs[f"{expected}.scores"][0]
                    assert press.score(layer) == pytest.approx(scores, abs=1e-5)
                for part in ("keys", "values"):
                    if f"{expected}.{part}_sorted" in outputs:
                        ours = gathered(getattr(layer, part), kept)
                        assert np.array_equal(ours, outputs[f"{expected}.{part}_sorted"][0])


@pytest.mark.parametrize("name", PRESSES)
@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 30), (0.5, 15), (0.75, 7), (0.99, 1)])
def test_each_head_keeps_its_share_in_order(
    name: str, ratio: float, kept: int, rng: np.random.Generator
) -> None:
    places = catalog.load(KVRefiner, name, {"ratio": ratio}).select(remembered(rng))
    assert places.shape == (2, kept)
    assert (np.diff(places, axis=1) > 0).all()


@pytest.mark.parametrize("name", PRESSES)
@pytest.mark.parametrize("tokens", [1, 2, 3, 5])
def test_a_context_shorter_than_a_window_is_no_error(
    name: str, tokens: int, rng: np.random.Generator
) -> None:
    places = catalog.load(KVRefiner, name, {"ratio": 0.5}).select(remembered(rng, tokens))
    assert places.shape == (2, max(1, tokens // 2))


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("knorm", {"ratio": 1.0}, r"ratio must be from 0 to below 1, not 1\.0"),
        ("snapkv", {"window": 0}, "window must be at least 1 token, not 0"),
        ("snapkv", {"kernel": 4}, "kernel must be odd and at least 1, not 4"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    name: str, table: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(KVRefiner, name, table)


def test_turning_all_keys_alike_changes_nothing_that_a_later_query_sees(
    rng: np.random.Generator,
) -> None:
    """Attention depends on distances: a cache of n tokens out of T may move by T - n."""
    layer, kept = remembered(rng), np.array([0, 3, 4, 17])
    query = rng.normal(size=(1, 8)).astype(np.float32)
    frequencies = layer.inverse_frequencies
    far = rotate(query, np.array([30]), frequencies)
    moved = rotate(layer.keys[:, kept], np.full(4, 4 - 30), frequencies)
    near = rotate(query, np.array([4]), frequencies)
    assert moved @ near[0] == pytest.approx(layer.keys[:, kept] @ far[0], abs=1e-5)


def test_the_mean_rotation_is_the_mean_of_the_rotated(rng: np.random.Generator) -> None:
    frequencies, vector = 1 / 50 ** np.linspace(0, 1, 4), rng.normal(size=8).astype(np.float32)
    places = np.arange(5, 25)
    each = rotate(np.tile(vector, (20, 1)), places, frequencies)
    turned = mean_rotation(places, frequencies) @ vector
    assert turned == pytest.approx(each.mean(axis=0), abs=1e-6)
