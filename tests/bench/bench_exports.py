"""True-size exports of random weights: how large, how long to make, how fast beside PyTorch.

For each graph: the file's size, the times of the export and of TensorRT's build of its engine, and
milliseconds an item at batches of 1 and 8 on 1 and 2 threads through ONNX Runtime, and as a share
of PyTorch's. Texts of BERTs are 128 tokens long, those of CLIPs 77, PreFLMR's queries 32 and a
picture. `TAMIS_BENCH_EXPORTS` chooses the cases whose names have it in them, such as ``vit_b_32``.
"""

import os
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
from tamis.models.export.tensorrt import BUILT_FOR, engine_of
from tamis.models.networks.bert import Normalise, Sentence, backbone
from tamis.models.networks.clip import TextShape, TextTower, VisionShape, VisionTower
from tamis.models.networks.clip_graphs import ImageGraph, SeenGraph, StatesGraph, TextGraph
from tamis.models.networks.flmr import Flmr, Image, Side, complete
from tamis.models.networks.uniir import ClipJoint, T5Fusion
from tamis.models.runtimes.onnx import OnnxSession
from tamis.models.runtimes.profiles import AXES
from tamis.models.runtimes.tensorrt import device, library

RUNS, SECONDS = 20, 4.0  # at most so many runs of one measurement, and at most so long
BATCHES, THREADS = (1, 8), (1, 2)
CHOSEN = os.environ.get("TAMIS_BENCH_EXPORTS", "")
VIT_B = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "intermediate_size": 3072, "patch_size": 32}  # fmt: skip
VIT_L = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "intermediate_size": 4096, "patch_size": 14}  # fmt: skip


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


def preflmr(vision: Mapping[str, int]) -> Flmr:
    own = {"vision_config": dict(vision), "use_transformer_mapping_network": True}
    return Flmr(complete(own))


def pictures(batch: int) -> dict[str, Tensor]:
    return {"pixels": torch.randn(batch, 3, 224, 224)}


def tokens(batch: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, 49406, (batch, 77))}


def words(batch: int) -> dict[str, Tensor]:
    ids = torch.randint(1, 30522, (batch, 128))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def pairs(batch: int) -> dict[str, Tensor]:
    return tokens(batch) | {"image": torch.randn(batch, 257, 768)}


def asked(vision: Mapping[str, int], batch: int) -> dict[str, Tensor]:
    """A query's words and what the tower makes of its picture."""
    ids, width = torch.randint(1, 30522, (batch, 32)), vision["hidden_size"]
    patches = (224 // vision["patch_size"]) ** 2
    seen = {"features": torch.randn(batch, 1, width), "patches": torch.randn(batch, patches, width)}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **seen}


def told(vision: Mapping[str, int], batch: int) -> dict[str, Tensor]:
    """A document's words and its picture's features."""
    return words(batch) | {"features": torch.randn(batch, 1, vision["hidden_size"])}


ROWS = ("text", "image")
SEEN = ("embedding", "visual", "attention")
STATES = ("embedding", "states")
LOOKED = ("features", "patches")
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
    "preflmr vit_b image": Case(lambda: Image(preflmr(VIT_B), "query"), pictures, LOOKED),
    "preflmr vit_b query": Case(lambda: Side(preflmr(VIT_B), "query"), partial(asked, VIT_B), ROWS),
    "preflmr vit_b document": Case(
        lambda: Side(preflmr(VIT_B), "context"), partial(told, VIT_B), ROWS
    ),
    "preflmr vit_l image": Case(lambda: Image(preflmr(VIT_L), "query"), pictures, LOOKED),
    "preflmr vit_l query": Case(lambda: Side(preflmr(VIT_L), "query"), partial(asked, VIT_L), ROWS),
    "preflmr vit_l document": Case(
        lambda: Side(preflmr(VIT_L), "context"), partial(told, VIT_L), ROWS
    ),
}


@pytest.mark.bench
@pytest.mark.parametrize("name", [name for name in CASES if CHOSEN in name])
def test_export(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "graph.onnx"
    torch.manual_seed(0)
    network = case.network().eval()
    start = time.perf_counter()
    dynamic = {key: {0: "batch"} for key in case.inputs(2)}
    to_onnx(network, case.inputs(2), case.outputs, path, dynamic=dynamic)
    took = time.perf_counter() - start
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    print(f"\n{name}: {size / 1e6:.0f} MB, exported in {took:.0f} s, {engine(path)}")
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


def engine(graph: Path) -> str:
    """How long TensorRT builds the graph's engine."""
    if (trt := library()) is None:
        return "no TensorRT is installed"
    target, start = device() or BUILT_FOR, time.perf_counter()
    size = len(engine_of(graph, target, AXES))
    took = time.perf_counter() - start
    return f"{trt.__name__}'s engine for {target} in {took:.0f} s, {size / 1e6:.0f} MB"


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
