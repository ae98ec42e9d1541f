"""Fusion-in-Decoder, against transformers' T5 over states that are concatenated by hand."""

from itertools import permutations
from pathlib import Path

import pytest
import torch
from tiny_models import t5
from torch import Tensor
from transformers import AutoTokenizer, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from tamis.models.errors import ModelError
from tamis.models.runtimes.hf.fusion import HfFusionInDecoder
from tamis.models.runtimes.hf.loading import Checkpoint

NAMES = ["1", "2", "3", "4"]
GROUPS = [
    ["Query: a fox Document: it jumps", "a red bicycle", "two kites and a lazy dog", "fox"],
    ["what does a fox do?", "the quick brown fox", "Relevant: true", "a kite"],
    ["a red bicycle", "two kites"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return t5(tmp_path_factory.mktemp("models") / "t5")


def naive(folder: Path, texts: list[str]) -> list[int]:
    """One text after the other without padding, and no cache: the best of those that are left."""
    network = T5ForConditionalGeneration.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = [tokenizer(name, add_special_tokens=False).input_ids[0] for name in NAMES]
    with torch.inference_mode():
        states = torch.cat(
            [network.encoder(tokenizer(t, return_tensors="pt").input_ids)[0] for t in texts], dim=1
        )
        order: list[int] = []
        while len(order) < len(texts):
            told = torch.tensor([[0, *(names[i] for i in order)]])
            logits: Tensor = network(
                encoder_outputs=BaseModelOutput(last_hidden_state=states), decoder_input_ids=told
            ).logits[0, -1]
            left = [i for i in range(len(texts)) if i not in order]
            order.append(max(left, key=lambda i: float(logits[names[i]])))
    return order


def test_the_order_is_that_of_concatenated_states(folder: Path) -> None:
    """Whatever stands beside a group in a batch, and however it is padded."""
    model = HfFusionInDecoder(Checkpoint(model=str(folder)))
    expected = [naive(folder, group) for group in GROUPS]
    assert model.orders(GROUPS, NAMES) == expected
    assert [model.orders([group], NAMES)[0] for group in GROUPS] == expected
    assert all(tuple(order) in set(permutations(range(len(order)))) for order in expected)


def test_a_name_must_be_one_token(folder: Path) -> None:
    model = HfFusionInDecoder(Checkpoint(model=str(folder)))
    with pytest.raises(ModelError, match="'1 2 3' is 5 tokens of the model's; it must be one"):
        model.orders([["a", "b"]], ["1 2 3", "2"])


def test_nothing_is_read_where_nothing_is_shown(folder: Path) -> None:
    assert HfFusionInDecoder(Checkpoint(model=str(folder))).orders([[]], NAMES) == [[]]
