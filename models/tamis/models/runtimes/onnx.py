"""Runs exported graphs on ONNX Runtime: on a GPU where there is one, else on the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tamis.models.errors import ModelError

# In order of preference. An exhaustive search for the best convolution would run again for each
# new batch shape, and batches here have many.
PROVIDERS: dict[str, dict[str, Any]] = {
    "CUDAExecutionProvider": {"cudnn_conv_algo_search": "HEURISTIC"},
    "CPUExecutionProvider": {},
}


@dataclass(frozen=True, slots=True)
class OnnxSession:
    """A graph that ONNX Runtime has loaded. Several threads may run it at once."""

    session: onnxruntime.InferenceSession

    @classmethod
    def open(cls, path: str | PathLike[str], *, threads: int = 0) -> "OnnxSession":
        """Loads a graph.

        Args:
            path: An ONNX file.
            threads: Threads that one run may use; 0 for one a core.

        Raises:
            ModelError: The file is missing, or ONNX Runtime cannot load it.
        """
        if not Path(path).is_file():
            raise ModelError(f"{path}: no such file")
        present = onnxruntime.get_available_providers()
        providers = [(name, PROVIDERS[name]) for name in PROVIDERS if name in present]
        try:
            session = onnxruntime.InferenceSession(path, options(threads), providers=providers)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise ModelError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        return cls(session)

    @property
    def runtime(self) -> str:
        """What runs it, such as ``onnxruntime CPUExecutionProvider``."""
        return f"onnxruntime {self.session.get_providers()[0]}"

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one batch; names and shapes are the exported graph's."""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))


def options(threads: int) -> onnxruntime.SessionOptions:
    """How a graph is run: every optimisation, and no thread that spins while it waits.

    Spinning threads would take the cores from the other models and from the event loop.
    """
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.log_severity_level = 3  # errors; its warnings are about the graph, not the request
    return chosen
