"""Encoding at full load: a real server beside a bare ONNX Runtime loop on the same graph.

The bare loop runs ready-made tensors at the best of some batch sizes and thread counts; "encoder"
is the same loop over the method itself, which tokenizes or decodes as well. The server has its
default settings; its client is this process, on the same cores, with four calls of 32 inputs under
way. Texts are all of one length, pictures are JPEG files of 224 x 224. Rounds go round all rows.
CLIP has ViT-B/32's sizes and random weights, which are as fast as trained ones.
"""

import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import onnxruntime
import pytest
import uvloop
from load_calls import OPTIONS, embed_request, infer_request
from load_loops import Ended, closed_loop
from load_server import Watched, watched
from PIL import Image
from serving import ROOT

from tamis.models import catalog
from tamis.models.encoders import Encoder, TokenEncoder
from tamis.models.types import Content, Side
from tamis.server.config import default_settings
from tamis.server.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceStub

pytestmark = pytest.mark.bench
CORES = os.cpu_count() or 1
BATCHES, THREADS = (8, 16, 32), sorted({1, CORES})
INPUTS, CALLERS = 32, 4  # of one call, and calls under way
ROUNDS, SECONDS, TRIAL_S = 3, 2.0, 0.5
TEXT = "a small bird with a red breast sits on a branch in the snow and looks at the sea below it"
MODELS = ROOT / "models" / "tamis" / "models"
DTYPES = {"tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(float)": np.float32}
CACHE = Path(
    os.environ.get("TAMIS_BENCH_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "bench"
)
# In a process of its own: nothing that is measured here loads torch.
EXPORT_CLIP = """
import sys, tempfile
from pathlib import Path
import torch
from transformers import CLIPConfig, CLIPModel
from tamis.models.export.clip_tokenizer import of_merges
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export

with tempfile.TemporaryDirectory() as folder:
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    Path(folder, "tokenizer.json").write_text(of_merges([]))
    export(folder, Path(sys.argv[1]), Options(name="CLIP ViT-B/32, random"), method="clip")
"""


@dataclass(frozen=True)
class Case:
    """An encoder that is measured.

    Attributes:
        name: In the catalogue, and of the server's model.
        folder: Its model folder; empty for its own.
        graph: Its graph.
        item: What is encoded: a text, or a picture's file.
    """

    name: str
    folder: str
    graph: Path
    item: str | bytes


def minilm() -> Case:
    folder = ROOT / "artifacts" / "minilm"
    return Case("minilm", str(folder), next(folder.glob("*.onnx")), TEXT)


def tamis_mini() -> Case:
    return Case("tamis_mini", "", MODELS / "weights" / "tamis_mini" / "vision.onnx", picture())


def clip() -> Case:
    folder = CACHE / "clip-vit-b-32-random"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", EXPORT_CLIP, folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"CLIP cannot be exported: {done.stderr.strip().splitlines()[-1]}")
    return Case("clip", str(folder), folder / "image.onnx", picture())


def picture() -> bytes:
    """A JPEG file that is not trivial to decode."""
    rows = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(rows).resize((224, 224), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("make", [minilm, tamis_mini, clip], ids=lambda make: make.__name__)
def test_encoding(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    bare, batch, threads = best_bare(case)
    encode = encoder_loop(case, batch, threads)
    with served(case, tmp_path) as server:
        rows: dict[str, Callable[[], float]] = {
            f"bare ONNX Runtime, {batch} a batch, {threads} threads": lambda: rate(bare, batch),
            "the encoder, the same": lambda: rate(encode, batch),
            f"Embed, {INPUTS} a call": lambda: uvloop.run(through_embed(server, case)),
            f"ModelInfer, {INPUTS} a call": lambda: uvloop.run(through_oip(server, case)),
        }
        found: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(1 + ROUNDS):
            for name, measure in rows.items():
                found[name].append(measure())
    show(case, found)


def best_bare(case: Case) -> tuple[Callable[[], object], int, int]:
    """The fastest loop over the bare graph, its batch size and its thread count."""
    tokens = token_count(case)
    trials: dict[tuple[int, int], tuple[float, Callable[[], object]]] = {}
    for threads in THREADS:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            case.graph, options, providers=["CPUExecutionProvider"]
        )
        for batch in BATCHES:
            tensors = inputs(session, batch, tokens)

            def run(session: Any = session, tensors: Any = tensors) -> object:
                return session.run(None, tensors)

            run()
            trials[batch, threads] = rate(run, batch, TRIAL_S), run
    batch, threads = max(trials, key=lambda tried: trials[tried][0])
    return trials[batch, threads][1], batch, threads


def inputs(session: Any, batch: int, tokens: int) -> dict[str, np.ndarray]:
    """Tensors of the graph's shapes: the batch first, then whatever is fixed, or tokens."""
    rng, made = np.random.default_rng(0), {}
    for tensor in session.get_inputs():
        fixed = [size if isinstance(size, int) else tokens for size in tensor.shape[1:]]
        values = rng.integers(1, 2, (batch, *fixed))  # ids and masks of 1, and grey pictures
        made[tensor.name] = values.astype(DTYPES[tensor.type])
    return made


def token_count(case: Case) -> int:
    """How many tokens the case's text is, special ones included."""
    encoder = loaded(case, 1)
    if isinstance(case.item, bytes) or not isinstance(encoder, TokenEncoder):
        return 0
    special = 2  # [CLS] and [SEP]
    return encoder.counts([case.item])[0] + special


def loaded(case: Case, threads: int) -> Encoder:
    settings = {"folder": case.folder, "threads": threads}
    return catalog.load(Encoder, case.name, settings)


def encoder_loop(case: Case, batch: int, threads: int) -> Callable[[], object]:
    encoder = loaded(case, threads)

    def content() -> Content:
        if isinstance(case.item, str):
            return Content(text=case.item)
        return Content(image=Image.open(io.BytesIO(case.item)).convert("RGB"))

    return lambda: encoder.encode([content() for _ in range(batch)], Side.DOCUMENT)


def rate(run: Callable[[], object], batch: int, seconds: float = SECONDS) -> float:
    """Inputs a second."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        run()
        count += batch
    return count / (time.perf_counter() - began)


@contextmanager
def served(case: Case, folder: Path) -> Iterator[Watched]:
    settings = default_settings().read_text("utf-8")
    if f"[encoders.{case.name}]" not in settings:
        settings += f'\n[encoders.{case.name}]\nmethod = "{case.name}"\n'
        settings += f'settings = {{ folder = "{case.folder}" }}\n'
    with watched(folder / "data", settings) as own:
        yield own


async def through_embed(server: Watched, case: Case) -> float:
    request = embed_request(case.name, *[case.item] * INPUTS)
    async with grpc.aio.insecure_channel(server.served.target, OPTIONS) as channel:
        stub: Any = EmbeddingServiceStub(channel)

        async def call(number: int) -> Ended:
            results = (await stub.Embed(request)).results
            return Ended("OK" if all(r.HasField("embedding") for r in results) else "FAILED")

        return await saturated(call)


async def through_oip(server: Watched, case: Case) -> float:
    request = infer_request(case.name, *[case.item] * INPUTS)
    async with grpc.aio.insecure_channel(server.served.target, OPTIONS) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            ModelInferRequest.SerializeToString,
            ModelInferResponse.FromString,
        )

        async def call(number: int) -> Ended:
            await infer(request)
            return Ended("OK")

        return await saturated(call)


async def saturated(call: Callable[[int], Any]) -> float:
    report = await closed_loop(call, CALLERS, SECONDS, deadline_s=60)
    assert set(report.codes) == {"OK"}, report.codes
    return INPUTS * report.codes["OK"] / report.seconds


def show(case: Case, found: dict[str, list[float]]) -> None:
    found = {name: rates[1:] for name, rates in found.items()}  # the first round warms up
    bare: Sequence[float] = next(iter(found.values()))
    print(f"\n{case.name:44}{'inputs/s':>10}   of the bare loop")
    for name, rates in found.items():
        ratios = [own / floor for own, floor in zip(rates, bare, strict=True)]
        print(
            f"{name:44}{statistics.median(rates):10.1f}   {statistics.median(ratios):.2f} "
            f"(from {min(ratios):.2f} to {max(ratios):.2f})"
        )
