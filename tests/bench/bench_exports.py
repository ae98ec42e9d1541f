"""True-size exports of random weights: how large, how long to make, how fast beside PyTorch.

For each graph: the file's size, the time of the export, and milliseconds an item at batches of 1
and 8 on 1 and 2 threads through ONNX Runtime, and as a share of PyTorch's. Texts of BERTs are 128
tokens long, those of CLIPs 77. ``-k vit_b_32`` chooses some.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import T5Config

from tamis.models.export.graphs import to_onnx
from tamis.models.networks.bert import Normalise, Sentence, backbone
from tamis.models.networks.clip import (
    ImageGraph,
    SeenGraph,
    StatesGraph,
    TextGraph,
    TextShape,
    TextTower,
    VisionShape,
    VisionTower,
)
from tamis.models.networks.uniir import ClipJoint, T5Fusion
from tamis.models.runtimes.onnx import OnnxSession

RUNS, SECONDS = 20, 4.0  # at most so many runs of one measurement, and at most so long
BATCHES, THREADS = (1, 8), (1, 2)


@dataclass(frozen=True)
class Case:
    """A graph to export.

    Attributes:
        network: Made when it is its turn: the largest do not fit in memory side by side.
        inputs: For a batch of so many items.
        outputs: Their names.
    """

    network: Callable[[], nn.Module]
    inputs: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...] = ("embedding",)


def vision(width: int, layers: int, patch: int, dim: int) -> VisionTower:
    side = 224 // patch
    shape = VisionShape(
        width=width,
        layers=layers,
        heads=width // 64,
        inner=4 * width,
        patch=patch,
        grid=(side, side),
        dim=dim,
    )
    return VisionTower(shape)


def text(width: int, dim: int) -> TextTower:
    shape = TextShape(
        width=width,
        layers=12,
        heads=width // 64,
        inner=4 * width,
        context=77,
        vocabulary=49408,
        dim=dim,
    )
    return TextTower(shape)


def fusion() -> ClipJoint:
    config = T5Config(
        d_model=768,
        num_heads=12,
        num_layers=2,
        d_ff=2048,
        vocab_size=2,
        pad_token_id=0,
        is_encoder_decoder=False,
        use_cache=False,
    )
    config._attn_implementation = "eager"
    return ClipJoint(text(768, 0), T5Fusion(config))


def sentence(width: int, layers: int) -> Sentence:
    config = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
    }
    return Sentence(backbone(config), ("mean",), (Normalise(),))


def pictures(batch: int) -> dict[str, Tensor]:
    return {"pixels": torch.randn(batch, 3, 224, 224)}


def tokens(batch: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, 49406, (batch, 77))}


def words(batch: int) -> dict[str, Tensor]:
    ids = torch.randint(1, 30522, (batch, 128))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def pairs(batch: int) -> dict[str, Tensor]:
    return tokens(batch) | {"image": torch.randn(batch, 257, 768)}


SEEN = ("embedding", "visual", "attention")
STATES = ("embedding", "states")
CASES: dict[str, Case] = {
    "minilm text": Case(lambda: sentence(384, 6), words, STATES),
    "bert base text": Case(lambda: sentence(768, 12), words, STATES),
    "clip vit_b_32 image": Case(lambda: ImageGraph(vision(768, 12, 32, 512)), pictures),
    "clip vit_b_32 text": Case(lambda: TextGraph(text(512, 512)), tokens),
    "clip vit_l_14 image": Case(lambda: SeenGraph(vision(1024, 24, 14, 768)), pictures, SEEN),
    "clip vit_l_14 text": Case(lambda: TextGraph(text(768, 768)), tokens),
    "uniir_clip_sf vit_l_14 image": Case(lambda: ImageGraph(vision(1024, 24, 14, 768)), pictures),
    "uniir_clip_sf vit_l_14 text": Case(lambda: TextGraph(text(768, 768)), tokens),
    "uniir_clip_ff vit_l_14 image": Case(
        lambda: StatesGraph(vision(1024, 24, 14, 768)), pictures, ("states",)
    ),
    "uniir_clip_ff vit_l_14 joint": Case(fusion, pairs),
}


@pytest.mark.bench
@pytest.mark.parametrize("name", CASES, ids=[name.replace(" ", "-") for name in CASES])
def test_export(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "graph.onnx"
    torch.manual_seed(0)
    network = case.network().eval()
    start = time.perf_counter()
    dynamic = {key: {0: "items"} for key in case.inputs(2)}
    to_onnx(network, case.inputs(2), case.outputs, path, dynamic=dynamic)
    took = time.perf_counter() - start
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    print(f"\n{name}: {size / 1e6:.0f} MB, exported in {took:.0f} s")
    for threads in THREADS:
        session = OnnxSession.open(path, threads=threads)
        for batch in BATCHES:
            inputs = case.inputs(batch)
            ours = milliseconds(partial(session.run, arrays(inputs))) / batch
            theirs = milliseconds(partial(in_torch, network, inputs, threads)) / batch
            print(
                f"  {threads} thread{'s' * (threads > 1)}, batch {batch}: ONNX Runtime "
                f"{ours:7.1f} ms an item, PyTorch {theirs:7.1f}, ratio {ours / theirs:.2f}"
            )


def arrays(inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}


@torch.inference_mode()
def in_torch(network: nn.Module, inputs: Mapping[str, Tensor], threads: int) -> None:
    torch.set_num_threads(threads)
    network(**inputs)


def milliseconds(run: Callable[[], object]) -> float:
    """The median of some runs, after one to warm up."""
    run()
    times: list[float] = []
    while len(times) < RUNS and sum(times) < SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
