"""Builds TensorRT engines from a model folder's graphs.

Works without a GPU where `tensorrt_rtx` is installed: engines are then built for a compute
capability by name. A stale engine, of another graph, limits, TensorRT or GPU, is built again.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx

from tamis.models.errors import ModelError
from tamis.models.export.draft import silent
from tamis.models.runtimes.folder import ModelFolder, file_sha256
from tamis.models.runtimes.profiles import AXES, Limits, limits
from tamis.models.runtimes.tensorrt import FOLDER, device, engine_path, library

logger = logging.getLogger(__name__)

BUILT_FOR = "sm89"  # where there is no GPU to ask: Ada, such as an L4
TIMING = "timing.cache"  # of the kernels that were tried, so that the next build is faster


def build(
    model: ModelFolder[Any], report: Callable[[str], None] = silent, *, target: str = ""
) -> list[Path]:
    """Builds the engines of a folder that are not there yet.

    Args:
        model: The folder, whose graphs are float32 or float16.
        report: Told what is being done, a line at a time.
        target: The GPU to build for, such as ``sm89``; empty for this machine's, or `BUILT_FOR`.

    Returns:
        The engines' files, of all graphs.

    Raises:
        ModelError: TensorRT is not installed, or cannot build one.
    """
    target = target or device() or BUILT_FOR
    within = limits(model.recipe)
    made = []
    for name in sorted(file for file in model.recipe.files if file.endswith(".onnx")):
        graph = model.path / name
        path = engine_path(model.path, graph.stem, file_sha256(graph), target, within)
        made.append(path)
        if path.exists():
            report(f"{path.name}: there already")
            continue
        began = time.perf_counter()
        engine = engine_of(graph, target, within)
        _replace(path, engine)
        seconds = time.perf_counter() - began
        report(f"{path.name}: built in {seconds:.1f} s, {len(engine) / 1e6:.1f} MB")
    return made


def engine_of(graph: Path, target: str, within: Mapping[str, Limits] = AXES) -> bytes:
    """The engine of one graph.

    Args:
        graph: Its file.
        target: The GPU to build for.
        within: What its free axes come to, by their names.

    Raises:
        ModelError: TensorRT is not installed, or cannot build it.
    """
    trt = library()
    if trt is None:
        raise ModelError("neither tensorrt nor tensorrt_rtx is installed: pip install tensorrt")
    if device() is None and trt.__name__ == "tensorrt":
        raise ModelError("tensorrt builds engines on a machine with a GPU: install tensorrt_rtx")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse_from_file(str(graph)):
        raise ModelError(f"{graph}: TensorRT cannot read it: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    if device() is None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    config.add_optimization_profile(_profile(builder, graph, within))
    timing = graph.parent / FOLDER / TIMING
    timed = trt.__name__ == "tensorrt"  # in RTX, which tries kernels on the GPU, it is empty
    if timed:
        _warm(config, timing)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ModelError(f"{graph}: TensorRT cannot build an engine for {target}")
    if timed:
        _keep(config, timing)
    return bytes(engine)


def _profile(builder: Any, graph: Path, within: Mapping[str, Limits]) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in onnx.load(graph, load_external_data=False).graph.input:
        axes = []
        for axis in tensor.type.tensor_type.shape.dim:
            if not axis.dim_param:
                axes.append((axis.dim_value,) * 3)
            elif axis.dim_param in within:
                axes.append(within[axis.dim_param])
            else:
                raise ModelError(f"{graph}: {tensor.name}: axis {axis.dim_param!r} has no limits")
        if any(low != high for low, _, high in axes):
            profile.set_shape(tensor.name, *map(tuple, zip(*axes, strict=True)))
    return profile


def _warm(config: Any, path: Path) -> None:
    """Gives a build what earlier ones found out."""
    known = path.read_bytes() if path.exists() else b""
    if cache := config.create_timing_cache(known):
        config.set_timing_cache(cache, ignore_mismatch=False)


def _keep(config: Any, path: Path) -> None:
    if cache := config.get_timing_cache():
        _replace(path, bytes(cache.serialize()))


def _replace(path: Path, content: bytes) -> None:
    """Puts a file in its place, whole."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
