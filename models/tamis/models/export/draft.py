"""A model folder in the making: what exporters write their graphs and files into."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.graphs import to_onnx, verify
from tamis.models.export.precision import PRECISIONS, convert

TOLERANCE = 1e-4  # of an output in float32; the graph of a deep network sums in another order


@dataclass(frozen=True, kw_only=True)
class Options:
    """What whoever exports decides.

    Attributes:
        name: What the model and its space are called; empty for the checkpoint's name.
        licence: Of the weights, as an SPDX identifier.
        precision: Of the graphs: ``float32``, ``float16``, ``int8`` or ``int8_static``.
        tolerance: How far an output of a float32 graph may be from the network's.
        cosine: What vectors in fewer bits must reach, in the mean, to those in float32.
        settings: What one exporter takes besides, such as the number of Poly-encoder's codes.
    """

    name: str = ""
    licence: str = "unknown"
    precision: str = "float32"
    tolerance: float = TOLERANCE
    cosine: float = 0.95
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ModelError(f"precision: {self.precision!r} is not one of: {known}")


DEFAULT = Options()


def silent(line: str) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Draft:
    """What an exporter is given.

    Attributes:
        folder: Where the files go. All that lie there in the end belong to the model.
        options: What whoever exports decides.
        report: Told what is being done, a line at a time.
    """

    folder: Path
    options: Options = DEFAULT
    report: Callable[[str], None] = silent

    def name(self, checkpoint: Checkpoint) -> str:
        """What the model and its space are called."""
        return self.options.name or checkpoint.name

    def graph(
        self,
        name: str,
        module: nn.Module,
        outputs: Sequence[str],
        cases: Sequence[Mapping[str, Tensor]],
        *,
        dynamic: Mapping[str, Mapping[int, str]],
        drawn: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        """Writes a network as `<name>.onnx`, in the precision asked for, and checks it.

        Args:
            name: The graph's role, such as ``text``.
            module: The network; its `forward` takes its inputs by name.
            outputs: What to call the tensors that it returns, in order.
            cases: Inputs by name, of real texts or pictures: to trace (the first; its dynamic axes
                are 2 or longer), compare, calibrate and measure with.
            dynamic: For each input, the axes whose length is free, and what to call it.
            drawn: More inputs to compare on, drawn at random and of other shapes.

        Raises:
            ModelError: The network cannot be exported, or its graph differs from it.
        """
        path = self.folder / f"{name}.onnx"
        self.report(f"{path.name}: tracing")
        to_onnx(module, cases[0], outputs, path, dynamic=dynamic)
        self.report(f"{path.name}: comparing with the network")
        worst = verify(module, path, [*cases, *drawn], tolerance=self.options.tolerance)
        self.report(
            f"{path.name}: differs from the network by {worst:.1e} at most "
            f"(allowed {self.options.tolerance:.0e}) over {len(cases)} real batches "
            f"and {len(drawn)} random ones"
        )
        if self.options.precision != "float32":
            self._convert(path, cases)

    def _convert(self, path: Path, cases: Sequence[Mapping[str, Tensor]]) -> None:
        precision = self.options.precision
        self.report(f"{path.name}: converting to {precision}")
        feeds = [{name: own.numpy() for name, own in case.items()} for case in cases]
        found = convert(path, precision, feeds)
        self.report(f"{path.name}: {precision}: {found}")
        if found.mean_cosine < self.options.cosine:
            raise ModelError(
                f"{path.name}: {precision} is too far from float32: mean cosine "
                f"{found.mean_cosine:.4f}, less than {self.options.cosine}"
            )

    def copy(self, source: Path) -> None:
        """Puts one of the checkpoint's files into the folder, under its own name.

        Raises:
            ModelError: It cannot be read.
        """
        try:
            shutil.copyfile(source, self.folder / source.name)
        except OSError as error:
            raise ModelError(f"{source}: cannot be read: {error.strerror}") from error
