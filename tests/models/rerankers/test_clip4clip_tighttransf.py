"""CLIP4Clip's cross transformer, against the authors' code, through torch and the graph."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from safetensors.torch import load_file

from tamis.models.export.clip4clip_tighttransf import network_of
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.rerankers.clip4clip_tighttransf import CLIP4ClipTightTransf
from tamis.models.runtimes.pair_scorer import OnnxPairScorer
from tamis.models.types import Candidate, Content, Query

ON_VECTORS, ON_LOGITS = 5e-5, 1e-3  # the golden data's own tolerances


@pytest.mark.parametrize("case", golden_cases("clip4clip_tighttransf"))
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


@pytest.mark.parametrize("case", golden_cases("clip4clip_tighttransf"))
def test_the_reranker_gives_the_authors_logits(case: Path, tmp_path: Path) -> None:
    """From the folder that is served; the videos of a collection have different lengths."""
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    heads = json.loads((case / "config.json").read_text())["cross"]["num_attention_heads"]
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes((case / "weights.safetensors").read_bytes())
    options = Options(settings={"heads": str(heads)})
    made = export(checkpoint, tmp_path / "served", options, method="clip4clip_tighttransf")
    reranker = CLIP4ClipTightTransf(
        model=OnnxPairScorer.open(made.path, threads=1), query="clip.text", document="clip.frames"
    )
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
