"""CLIP4Clip's cross transformer, against the authors' code, through torch and the graph."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from engines import build_engines
from golden import golden_cases
from safetensors.torch import load_file

from tamis.models.export.clip4clip_tighttransf import network_of
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.rerankers.clip4clip_tighttransf import CLIP4ClipTightTransf
from tamis.models.runtimes.pair_scorer import OnnxPairScorer
from tamis.models.types import Candidate, Content, Query

ON_VECTORS, ON_LOGITS = 5e-5, 1e-3  # the golden data's own tolerances
CASES = golden_cases("clip4clip_tighttransf")


class Served(NamedTuple):
    """A golden case, and the model folder that its weights were exported to."""

    case: Path
    model: OnnxPairScorer


@pytest.mark.parametrize("case", CASES)
def test_the_network_is_the_authors(case: Path) -> None:
    weights, inputs, outputs = (
        load_file(case / f"{name}.safetensors") for name in ("weights", "inputs", "outputs")
    )
    heads = json.loads((case / "config.json").read_text())["cross"]["num_attention_heads"]
    network = network_of(weights, heads=heads)
    with torch.inference_mode():
        for i, text in enumerate(outputs["text_output"]):
            for j, frames in enumerate(outputs["frame_output"]):
                real = frames[inputs["video_mask"][j].bool()][None]
                pooled = network.pooled(text[None], real)[0]
                assert (pooled - outputs["cross_pooled"][i, j]).abs().max() < ON_VECTORS
                assert abs(network(text[None], real)[0] - outputs["logits"][i, j]) < ON_LOGITS


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    case, checkpoint = request.param, tmp_path_factory.mktemp("checkpoint")
    heads = json.loads((case / "config.json").read_text())["cross"]["num_attention_heads"]
    (checkpoint / "model.safetensors").write_bytes((case / "weights.safetensors").read_bytes())
    options = Options(settings={"heads": str(heads)})
    out = tmp_path_factory.mktemp("served") / "tight"
    made = export(checkpoint, out, options, method="clip4clip_tighttransf")
    return Served(case, OnnxPairScorer.open(made.path, threads=1))


def test_the_reranker_gives_the_authors_logits(served: Served) -> None:
    """From the folder that is served; the videos of a collection have different lengths."""
    inputs, outputs = (
        load_file(served.case / f"{name}.safetensors") for name in ("inputs", "outputs")
    )
    reranker = CLIP4ClipTightTransf(model=served.model, query="clip.text", document="clip.frames")
    frames = [
        own[mask.bool()].numpy()
        for own, mask in zip(outputs["frame_output"], inputs["video_mask"], strict=True)
    ]
    candidates = [
        *(Candidate(str(j), 0.0, Content(), {"clip.frames": own}) for j, own in enumerate(frames)),
        Candidate("none", 0.0),
    ]
    for i, text in enumerate(outputs["text_output"]):
        query = Query(Content(), {"clip.text": text[0].numpy()})
        ranked = reranker.rerank(query, candidates)
        scores = {one.document_id: one.score for one in ranked}
        assert scores.pop("none") == -np.inf
        expected = {str(j): float(one) for j, one in enumerate(outputs["logits"][i])}
        assert scores == pytest.approx(expected, abs=ON_LOGITS)


def test_tensorrt_builds_its_engine(served: Served) -> None:
    build_engines(served.model.folder)
