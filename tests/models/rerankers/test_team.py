"""TEAM's blocks, against the same arithmetic in numpy, through torch and the graph."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import save_file

from tamis.models.errors import ModelError
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.export.team import network_of
from tamis.models.networks.team import Team
from tamis.models.rerankers.team import TEAM
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.pair_scorer import OnnxPairScorer
from tamis.models.types import Candidate, Content, Query

DIM, HEADS, BLOCKS = 12, 3, 2
Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    network = Team(DIM, HEADS, inner=20, blocks=BLOCKS, shared=7)
    return {key: torch.randn_like(value) * 0.4 for key, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def served(
    weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> ModelFolder[Any]:
    """Exported from a checkpoint that has the towers' weights too."""
    checkpoint = tmp_path_factory.mktemp("checkpoint")
    save_file(weights | {"text_model.x": torch.ones(2)}, checkpoint / "model.safetensors")
    options = Options(settings={"heads": str(HEADS)})
    return export(checkpoint, checkpoint.with_name("served"), options, method="team")


def norm(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, w: Weights, name: str) -> np.ndarray:
    """Head by head, query by query."""
    maps = np.split(w[f"{name}.in_proj_weight"], 3), np.split(w[f"{name}.in_proj_bias"], 3)
    q, k, v = (x @ m.T + b for x, m, b in zip((q, k, v), *maps, strict=True))
    mixed = np.zeros_like(q)
    for part in np.split(np.arange(DIM), HEADS):
        for i, own in enumerate(q):
            powers = np.exp(k[:, part] @ own[part] / math.sqrt(len(part)))
            mixed[i, part] = powers / powers.sum() @ v[:, part]
    return mixed @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]


def naive(text: np.ndarray, image: np.ndarray, w: Weights) -> float:
    """As the authors' block is written: what was found so far asks again, with the words added."""
    erf = np.vectorize(math.erf)
    found = np.zeros_like(text)
    for i in range(BLOCKS):
        at = f"team_block_list.{i}"
        states = norm(found, w, f"{at}.norm1")
        found = found + attend(text + states, text + states, states, w, f"{at}.self_attn")
        states = norm(found, w, f"{at}.norm2")
        found = found + attend(text + states, image, image, w, f"{at}.cross_attn")
        inner = norm(found, w, f"{at}.norm3") @ w[f"{at}.ffn.fc1.weight"].T
        inner = inner + w[f"{at}.ffn.fc1.bias"]
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        found = found + inner @ w[f"{at}.ffn.fc2.weight"].T + w[f"{at}.ffn.fc2.bias"]
    told = text @ w["text_tensor_fc.weight"].T + w["text_tensor_fc.bias"]
    seen = found @ w["image_tensor_fc.weight"].T + w["image_tensor_fc.bias"]
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(told, seen, strict=True)
    ]
    return sum(cosines) / len(cosines)


def test_the_reranker_gives_the_authors_scores(
    weights: dict[str, torch.Tensor], served: ModelFolder[Any], rng: np.random.Generator
) -> None:
    """Through the graph, in both directions."""
    model = OnnxPairScorer.open(served.path, threads=1)
    w = {key: value.double().numpy() for key, value in weights.items()}
    one = rng.normal(size=(4, DIM)).astype(np.float32)
    others = [rng.normal(size=(count, DIM)).astype(np.float32) for count in (3, 9, 3, 1)]
    held = [Candidate(str(i), 0.0, Content(), {"b": own}) for i, own in enumerate(others)]
    query = Query(Content(), {"a": one})
    for swapped in (False, True):
        reranker = TEAM(model=model, query="a", document="b", query_is_image=swapped)
        scores = {c.document_id: c.score for c in reranker.rerank(query, held)}
        sides = [(own, one) if swapped else (one, own) for own in others]
        wide = [(text.astype(np.float64), image.astype(np.float64)) for text, image in sides]
        expected = {str(i): naive(text, image, w) for i, (text, image) in enumerate(wide)}
        assert scores == pytest.approx(expected, abs=1e-5)


def test_a_checkpoint_without_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match=r"text_tensor_fc\.weight: missing: no TEAM"):
        network_of({"text_model.x": torch.ones(2)})


def test_tensorrt_builds_its_engine(served: ModelFolder[Any]) -> None:
    build_engines(OnnxPairScorer.open(served.path, threads=1).folder)
