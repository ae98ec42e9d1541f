"""Text towers from published checkpoints, and every pooling by its definition."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_text import KINDS, model, tiny_text, vocabulary
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.networks.bert import (
    IGNORED,
    POOLINGS,
    Embedding,
    Normalise,
    backbone,
    key_of,
    max_positions,
    token_states,
)

DEFINED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda real: real[0],
    "max": lambda real: real.max(axis=0),
    "mean": lambda real: real.sum(axis=0) / len(real),
    "mean_sqrt_len_tokens": lambda real: real.sum(axis=0) / np.sqrt(len(real)),
    "weightedmean": lambda real: np.average(real, axis=0, weights=np.arange(1, len(real) + 1)),
    "lasttoken": lambda real: real[-1],
}


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.sampled_from([*POOLINGS]))
def test_a_pooling_reads_real_tokens_only(lengths: list[int], name: str) -> None:
    seeded = torch.Generator().manual_seed(len(lengths))
    states = torch.randn(len(lengths), max(lengths), 5, generator=seeded)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    pooled = POOLINGS[name](states, mask)
    for made, own, length in zip(pooled, states.numpy(), lengths, strict=True):
        assert np.abs(made.numpy() - DEFINED[name](own[:length])).max() < 1e-5


def test_several_poolings_are_joined() -> None:
    network = Embedding(backbone(model().config.to_dict()), ("cls", "mean"))
    states, mask = torch.randn(2, 3, 24), torch.ones(2, 3, dtype=torch.int64)
    expected = torch.cat([states[:, 0], states.mean(dim=1)], dim=1)
    assert torch.allclose(network.pooled(states, mask), expected, atol=1e-6)


def test_a_zero_vector_stays_zero() -> None:
    assert Normalise()(torch.zeros(1, 4)).tolist() == [[0.0] * 4]


@pytest.mark.parametrize("kind", KINDS)
def test_its_states_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    """With padding of both the mask's and the vocabulary's kind."""
    reference = model(kind, seed=3, layers=2)
    reference.save_pretrained(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    network = backbone(checkpoint.config)
    load(network, checkpoint.tensors(), rename=key_of, ignore=IGNORED)
    ids = torch.randint(5, len(vocabulary(kind)), (3, 11))
    mask = (torch.arange(11) < torch.tensor([[11], [4], [1]])).long()
    ids[mask == 0] = 0 if kind == "bert" else 1
    with torch.no_grad():
        made = token_states(network, ids, mask)
        expected = reference(input_ids=ids, attention_mask=mask).last_hidden_state
    assert (made - expected)[mask == 1].abs().max() < 1e-5


@pytest.mark.parametrize(("kind", "positions"), [("bert", 40), ("roberta", 38)])
def test_its_positions_are_counted_as_its_kind_counts(kind: str, positions: int) -> None:
    config = model(kind).config.to_dict()
    assert max_positions(config) == positions
    network = backbone(config)
    ones = torch.ones(1, positions, dtype=torch.int64)
    token_states(network, 5 * ones, ones)
    more = torch.ones(1, positions + 1, dtype=torch.int64)
    with pytest.raises((IndexError, RuntimeError)):
        token_states(network, 5 * more, more)


def spelled(rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {rename(key): tensor for key, tensor in model().state_dict().items()}


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"bert.{key}",
        lambda key: key.replace("LayerNorm.weight", "LayerNorm.gamma"),
        lambda key: key.replace("LayerNorm.bias", "LayerNorm.beta"),
    ],
    ids=["prefix", "gamma", "beta"],
)
def test_older_names_of_the_same_tensors_are_read(rename: Callable[[str], str]) -> None:
    network = backbone(model().config.to_dict())
    heads = {"cls.predictions.bias": torch.zeros(3), "bert.embeddings.position_ids": torch.zeros(1)}
    load(network, spelled(rename) | heads, rename=key_of, ignore=IGNORED)
    expected = model().state_dict()
    assert all(torch.equal(own, expected[key]) for key, own in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, r"model_type: 't5' is not one of: bert, roberta, xlm-roberta"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key'"),
    ],
)
def test_another_architecture_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        backbone(model().config.to_dict() | change)


def test_a_tower_that_was_written_is_one_that_is_read(tmp_path: Path) -> None:
    assert Checkpoint.open(tiny_text(tmp_path / "tower")).config["model_type"] == "bert"
