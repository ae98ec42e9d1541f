"""What every encoder of a model folder says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import EncoderRecipe
from tamis.models.runtimes.folder_encoder import FolderEncoder
from tamis.models.types import Content, Encoding, Head, Side


@dataclass(frozen=True)
class RunsOn:
    """A graph that is not run."""

    runtime: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OfThreeGraphs(FolderEncoder[EncoderRecipe]):
    """An encoder of which one graph has an engine."""

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        runtimes = {"text": "onnxruntime", "image": "tensorrt", "joint": "onnxruntime"}
        return {name: RunsOn(runtime) for name, runtime in runtimes.items()}

    @property
    def heads(self) -> Mapping[str, Head]:
        return {}

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        raise NotImplementedError


def test_all_that_runs_its_graphs_is_named_once() -> None:
    assert OfThreeGraphs(folder="unread").runtime == "onnxruntime, tensorrt"
