"""What feeds and runs an exported model. Each file holds one."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Session(Protocol):
    """A loaded graph. Safe to call from several threads."""

    @property
    def runtime(self) -> str:
        """What runs it, such as ``onnxruntime CPUExecutionProvider``."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one batch; names and shapes are the exported graph's."""
        ...
