"""Runs engines that TensorRT built, on an NVIDIA GPU.

One module for two packages with one interface: `tensorrt`, for data centres, and `tensorrt_rtx`,
which builds engines on machines without a GPU too. Engines lie beside their model's graphs, named
by all that they depend on; `tamis.models.export.tensorrt` builds them.
"""

import ctypes
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.profiles import Limits

PACKAGES = ("tensorrt", "tensorrt_rtx")  # in order of preference
FOLDER = "engines"


@cache
def library() -> Any | None:
    """The TensorRT that is installed, or None."""
    for name in PACKAGES:
        try:
            return import_module(name)
        except ImportError:  # not there, or without its libraries
            continue
    return None


@cache
def device() -> str | None:
    """What the GPU is, such as ``sm89``; None where there is none, or nothing to reach it with."""
    try:
        runtime = import_module("cuda.bindings.runtime")
    except ImportError:
        return None
    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count:
        return None
    attribute = runtime.cudaDeviceAttr
    major = _done(runtime.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMajor, 0))
    minor = _done(runtime.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMinor, 0))
    return f"sm{major}{minor}"


def engine_path(
    folder: Path, name: str, sha256: str, target: str, within: Mapping[str, Limits]
) -> Path:
    """Where the engine of a graph lies.

    Another graph, limits, TensorRT or GPU is another name, so that a stale engine is never opened.

    Args:
        folder: The model's.
        name: The graph's role.
        sha256: Of the graph.
        target: The GPU, as `device` tells it.
        within: What its free axes come to, by their names.
    """
    made_by = library()
    version = f"{made_by.__name__}-{made_by.__version__}" if made_by else "none"
    said = f"{sha256} {version} {target} {sorted(within.items())}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return folder / FOLDER / f"{name}.{target}.{digest}.engine"


def built(folder: Path, name: str, sha256: str, within: Mapping[str, Limits]) -> Path | None:
    """The engine of a graph for this machine's GPU, or None where there is none."""
    target = device()
    if target is None or library() is None:
        return None
    path = engine_path(folder, name, sha256, target, within)
    return path if path.exists() else None


@dataclass(slots=True)
class _Buffer:
    """Memory for one tensor: pinned on the host, and on the device."""

    host: int = 0
    device: int = 0
    size: int = 0


@dataclass(slots=True)
class TensorRtSession:
    """An engine in the GPU's memory, with one stream. Threads take turns.

    Inputs are copied once into pinned memory, from where the GPU fetches them; outputs come back
    the same way and are copied out, because the memory is used again.
    """

    engine: Any
    context: Any
    stream: Any
    target: str
    _buffers: dict[str, _Buffer] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path) -> "TensorRtSession":
        """Loads an engine.

        Raises:
            ModelError: There is no TensorRT or no GPU, or the engine is damaged or of another one.
        """
        trt, target = library(), device()
        if trt is None or target is None:
            raise ModelError(f"{path}: no TensorRT, or no GPU, to run it")
        try:
            runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
            engine = runtime.deserialize_cuda_engine(path.read_bytes())
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        if engine is None:
            raise ModelError(f"{path}: damaged, or built for another GPU or TensorRT")
        return cls(
            engine, engine.create_execution_context(), _done(_cuda().cudaStreamCreate()), target
        )

    @property
    def runtime(self) -> str:
        """What runs it, such as ``tensorrt 10.4 sm89``."""
        trt = library()
        return f"{trt.__name__} {trt.__version__} {self.target}" if trt else ""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one batch; names and shapes are the exported graph's.

        Raises:
            InputError: A shape is beyond what the engine was built for.
        """
        with self._turn:
            for name, array in inputs.items():
                self._send(name, np.ascontiguousarray(array))
            made = {name: self._room(name) for name in self._outputs()}
            if not self.context.execute_async_v3(int(self.stream)):
                raise ModelError("the engine failed; TensorRT's log says why")
            for name, array in made.items():
                self._fetch(name, array)
            _done(_cuda().cudaStreamSynchronize(self.stream))
            return {name: self._read(name, array) for name, array in made.items()}

    def _outputs(self) -> list[str]:
        mode = self.engine.get_tensor_mode
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        return [name for name in names if mode(name).name == "OUTPUT"]

    def _send(self, name: str, array: np.ndarray) -> None:
        if not self.context.set_input_shape(name, array.shape):
            low, _, high = self.engine.get_tensor_profile_shape(name, 0)
            raise InputError(f"{name}: {array.shape}: from {tuple(low)} to {tuple(high)}")
        buffer = self._buffer(name, array.nbytes)
        _view(buffer.host, array.shape, array.dtype)[...] = array
        kind = _cuda().cudaMemcpyKind.cudaMemcpyHostToDevice
        _done(_cuda().cudaMemcpyAsync(buffer.device, buffer.host, array.nbytes, kind, self.stream))
        self.context.set_tensor_address(name, buffer.device)

    def _room(self, name: str) -> np.ndarray:
        """An array of an output's shape and type, whose values are not there yet."""
        trt = library()
        shape = tuple(self.context.get_tensor_shape(name))
        array = np.empty(shape, dtype=trt.nptype(self.engine.get_tensor_dtype(name)))  # type: ignore[union-attr]
        self.context.set_tensor_address(name, self._buffer(name, array.nbytes).device)
        return array

    def _fetch(self, name: str, array: np.ndarray) -> None:
        buffer, kind = self._buffers[name], _cuda().cudaMemcpyKind.cudaMemcpyDeviceToHost
        _done(_cuda().cudaMemcpyAsync(buffer.host, buffer.device, array.nbytes, kind, self.stream))

    def _read(self, name: str, array: np.ndarray) -> np.ndarray:
        array[...] = _view(self._buffers[name].host, array.shape, array.dtype)
        return array

    def _buffer(self, name: str, size: int) -> _Buffer:
        """Memory for a tensor; what is too small is made anew, half as large again."""
        buffer = self._buffers.setdefault(name, _Buffer())
        if buffer.size < max(size, 1):
            self._free(buffer)
            buffer.size = max(size, 1) * 3 // 2 + 1
            buffer.host = int(_done(_cuda().cudaMallocHost(buffer.size)))
            buffer.device = int(_done(_cuda().cudaMalloc(buffer.size)))
        return buffer

    def _free(self, buffer: _Buffer) -> None:
        if buffer.size:
            _cuda().cudaStreamSynchronize(self.stream)
            _cuda().cudaFreeHost(buffer.host)
            _cuda().cudaFree(buffer.device)

    def __del__(self) -> None:
        for buffer in self._buffers.values():
            self._free(buffer)
        _cuda().cudaStreamDestroy(self.stream)


def _cuda() -> Any:
    return import_module("cuda.bindings.runtime")


def _view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Memory at an address as an array."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = (ctypes.c_byte * size).from_address(address)
    return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)


def _done(result: tuple[Any, ...]) -> Any:
    """What a call of CUDA returned besides its status.

    Raises:
        ModelError: It failed.
    """
    error, *values = result
    if int(error):
        raise ModelError(f"CUDA: {error.name}")
    return values[0] if values else None
