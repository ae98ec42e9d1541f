"""Decoders with a class head on torch: company, padding and adapters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import save_file
from transformers import LlamaForSequenceClassification

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.hf.classifier import Classifier
from tamis.models.runtimes.hf.loading import Checkpoint

ROWS = [[1, 40, 41], [1, 50, 51, 52, 53, 54, 55, 56, 0, 0], [1, 60], [1, *range(30, 60)]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama_classifier(tmp_path_factory.mktemp("models") / "rank", labels=2)


def alone(network: Any, row: list[int]) -> np.ndarray:
    """The head at the last token, whatever it is; transformers would skip what looks padded."""
    with torch.no_grad():
        states = network.eval().model(torch.tensor([row])).last_hidden_state
        logits: np.ndarray = network.score(states[0, -1]).numpy()
    return logits


def test_logits_do_not_depend_on_the_company(folder: Path) -> None:
    """A row may end in the padding's own id."""
    network: Any = LlamaForSequenceClassification.from_pretrained(folder)
    expected = np.array([alone(network, row) for row in ROWS])
    model = Classifier(Checkpoint(model=str(folder), device="cpu"))
    assert model.logits(ROWS) == pytest.approx(expected, abs=1e-4)
    assert model.logits(ROWS[::-1]) == pytest.approx(expected[::-1], abs=1e-4)
    with pytest.raises(InputError, match="a sequence is empty"):
        model.logits([[1], []])


def test_an_adapter_is_merged(folder: Path, tmp_path: Path) -> None:
    """As RankLLaMA's checkpoints are published: factors of some layers, and the head whole."""
    make = torch.Generator().manual_seed(1)
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    down, up = torch.randn(2, 32, generator=make), torch.randn(32, 2, generator=make)
    head = torch.randn(2, 32, generator=make)
    save_file(
        {
            f"{name}.lora_A.weight": down,
            f"{name}.lora_B.weight": up,
            "base_model.model.score.weight": head,
        },
        tmp_path / "adapter_model.safetensors",
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 6}))
    network: Any = LlamaForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        network.model.layers[0].self_attn.q_proj.weight += 3 * up @ down
        network.score.weight.copy_(head)
    said = Checkpoint(model=str(folder), device="cpu", adapter=str(tmp_path))
    expected = np.array([alone(network, row) for row in ROWS])
    assert Classifier(said).logits(ROWS) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    save_file({"base_model.model.scroe.weight": head}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"scroe\.weight: unknown"):
        Classifier(said)
