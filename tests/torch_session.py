"""Networks in place of their graphs, for what needs many networks and no second tracing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tamis.models.export.draft import Draft


@dataclass(frozen=True)
class TorchSession:
    """A `Session` that runs a network as its graph would be run."""

    module: nn.Module
    outputs: Sequence[str]
    runtime: str = "torch"

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: torch.from_numpy(np.array(own)) for name, own in inputs.items()}
        with torch.no_grad():
            made = self.module(**given)
        tensors = (made,) if isinstance(made, Tensor) else made
        return {name: own.numpy() for name, own in zip(self.outputs, tensors, strict=True)}


@dataclass(frozen=True)
class Kept(Draft):
    """A draft of a model folder that keeps the networks instead of tracing them."""

    sessions: dict[str, TorchSession] = field(default_factory=dict)

    def graph(
        self, name: str, module: nn.Module, outputs: Sequence[str], cases: Any, **_: Any
    ) -> None:
        self.sessions[name] = TorchSession(module, outputs)
