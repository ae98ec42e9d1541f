"""From a torch network to an ONNX graph, and the check that the two agree."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir
import torch
from torch import Tensor, nn

from tamis.models.errors import ModelError
from tamis.models.runtimes.onnx import OnnxSession

OPSET = 18  # what torch's exporter writes itself, without a converter after it
INLINE_BYTES = 1_800_000_000  # a protobuf message ends at 2 GiB; weights beyond go beside it


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    dynamic: Mapping[str, Mapping[int, str]],
) -> None:
    """Writes a network's graph; weights of more than 1.8 GB go to one file beside it.

    Args:
        module: The network, in float32. Its `forward` takes the `inputs` by name and returns a
            tensor or a tuple of them.
        inputs: An example of each input. Axes that are to be dynamic are 2 or longer here.
        outputs: What to call the tensors that are returned, in order.
        path: The graph's file.
        dynamic: For each input, the axes whose length is free, and what to call it. Axes with one
            name are of one length.

    Raises:
        ModelError: The network cannot be exported.
    """
    module.eval()
    shapes = {name: dict(dynamic.get(name, {})) for name in inputs}
    with warnings.catch_warnings():  # the exporter's own deprecations
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                kwargs=dict(inputs),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ModelError(f"{path.name}: torch cannot export it: {error}") from error
    assert program is not None  # noqa: S101 - dynamo=True always returns one
    _name_apart(program.model)
    save(program.model, path)


def save(model: onnx_ir.Model, path: Path) -> None:
    """Writes a graph, without what the exporter notes of its source: it names paths."""
    strip(model)
    weights = [one.const_value for one in model.graph.initializers.values()]
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    beside = f"{path.name}.data" if size > INLINE_BYTES else None
    onnx_ir.save(model, path, external_data=beside)


def strip(model: onnx_ir.Model) -> None:
    """Takes out comments and metadata, which no runtime reads."""
    model.doc_string = None
    model.metadata_props.clear()
    graphs: list[onnx_ir.Graph | onnx_ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.doc_string = None
        graph.metadata_props.clear()
        for node in onnx_ir.traversal.RecursiveGraphIterator(graph):
            node.doc_string = None
            node.metadata_props.clear()
            _clear(node.outputs)
        _clear([*graph.inputs, *graph.outputs])
    _clear(list(model.graph.initializers.values()))


def _clear(values: Sequence[onnx_ir.Value]) -> None:
    for value in values:
        value.doc_string = None
        value.metadata_props.clear()


def _name_apart(model: onnx_ir.Model) -> None:
    """Renames inner values that are called as an output: torch names both by its own rules."""
    outputs = {value.name: value for value in model.graph.outputs}
    inner = list(model.graph.initializers.values())
    for node in onnx_ir.traversal.RecursiveGraphIterator(model.graph):
        inner += node.outputs
    for value in inner:
        if value.name in outputs and value is not outputs[value.name]:
            value.name = f"{value.name}_inner"


@torch.no_grad()
def verify(
    module: nn.Module, path: Path, cases: Sequence[Mapping[str, Tensor]], *, tolerance: float
) -> float:
    """The largest difference of any output of the graph and the network.

    Args:
        module: The network that was exported.
        path: Its graph.
        cases: Inputs by name; of several shapes, to show that the axes are dynamic.
        tolerance: What the difference may be of an output whose values are at most 1; of one with
            larger values, such as a state before its norm, it may be larger in proportion.

    Raises:
        ModelError: It is more, or not a number.
    """
    session = OnnxSession.open(path)
    module.eval()
    worst = 0.0
    for case in cases:
        made = session.run({name: tensor.numpy() for name, tensor in case.items()})
        told = module(**case)
        tensors = (told,) if isinstance(told, Tensor) else tuple(told)
        for (name, output), tensor in zip(made.items(), tensors, strict=True):
            expected = tensor.numpy()
            if output.shape != expected.shape:
                raise ModelError(
                    f"{path.name}: {name}: the graph gives {list(output.shape)}, the network "
                    f"{list(expected.shape)}"
                )
            difference = float(np.abs(output - expected).max(initial=0.0))
            difference /= max(1.0, float(np.abs(expected).max(initial=0.0)))
            if not difference <= tolerance:
                raise ModelError(
                    f"{path.name}: {name}: the graph differs from the network by "
                    f"{difference:.2e}, more than {tolerance:.0e}"
                )
            worst = max(worst, difference)
    return worst
