"""Code attention by the published formula, through torch and through the exported graph."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from safetensors.torch import load_file
from torch import Tensor, nn

from tamis.models.blocks.soft_max import soft_max_product
from tamis.models.export.graphs import to_onnx, verify
from tamis.models.networks.poly_encoder import ATTENTIONS, Codes, First, attended
from tamis.models.runtimes.onnx import OnnxSession

AXES = {0: "texts", 1: "length"}


class States(nn.Module):
    """A tower that gives the states that it is told."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.last_hidden_state = states

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> "States":
        return self


@pytest.mark.parametrize("case", golden_cases("poly_encoder"))
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    ("suffix", "kind", "tolerance"),
    [("", torch.float32, 1e-5), ("_f64", torch.float64, 1e-12)],
    ids=["single", "double"],
)
def test_golden_code_attention(
    case: Path, attention: str, suffix: str, kind: torch.dtype, tolerance: float
) -> None:
    given, told = (load_file(case / f"{part}.safetensors") for part in ("inputs", "outputs"))
    (codes,) = load_file(case / "weights.safetensors").values()
    network = Codes(
        States(given["context_states"].to(kind)), codes.shape[0], codes.shape[1], attention
    )
    network.codes.data = codes.to(kind)
    mask = given["context_mask"]
    with torch.no_grad():
        vectors = network(mask, mask)
        shares = attended(network.codes, given["context_states"].to(kind), mask, attention)[1]
    assert (vectors - told[f"codes.{attention}.poly_vectors{suffix}"]).abs().max() <= tolerance
    assert (shares - told[f"codes.{attention}.code_attention{suffix}"]).abs().max() <= tolerance


@pytest.mark.parametrize("case", golden_cases("poly_encoder"))
def test_golden_first_states(case: Path) -> None:
    given, told = (load_file(case / f"{part}.safetensors") for part in ("inputs", "outputs"))
    count = json.loads((case / "config.json").read_text())["n_first"]
    mask = given["context_mask"]
    made = First(States(given["context_states"].double()), count)(mask, mask).numpy()
    held = given["candidate_vectors"].double().numpy()
    lengths = mask[:, :count].sum(dim=1).tolist()
    scores = [soft_max_product(own[:n], held) for own, n in zip(made, lengths, strict=True)]
    assert np.abs(np.stack(scores) - told["n_first.basic.scores_f64"].numpy()).max() <= 1e-12


class Attended(nn.Module):
    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return attended(self.codes, states, mask, "sqrt")[0]


@pytest.mark.parametrize("case", golden_cases("poly_encoder"))
def test_golden_code_attention_through_its_graph(case: Path, tmp_path: Path) -> None:
    given, told = (load_file(case / f"{part}.safetensors") for part in ("inputs", "outputs"))
    (codes,) = load_file(case / "weights.safetensors").values()
    feed = {"states": given["context_states"], "mask": given["context_mask"]}
    path = tmp_path / "poly.onnx"
    network = Attended(codes)
    to_onnx(network, feed, ("poly",), path, dynamic={"states": AXES, "mask": AXES})
    short = {name: tensor[:1, :3] for name, tensor in feed.items()}
    assert verify(network, path, [feed, short], tolerance=1e-5) <= 1e-5
    made = OnnxSession.open(path).run({name: tensor.numpy() for name, tensor in feed.items()})
    assert np.abs(made["poly"] - told["codes.sqrt.poly_vectors"].numpy()).max() <= 1e-5
