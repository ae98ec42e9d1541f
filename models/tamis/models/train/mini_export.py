"""Writes tamis-mini's model folder: the ONNX graph, its int8 twin, and `model.toml`.

python -m tamis.models.train.mini_export --checkpoint mini.pt --out FOLDER
"""

import argparse
import hashlib
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from jaxtyping import UInt8
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from tamis.models.networks.mini_vit import MiniVit, MiniVitShape, Seen

OUTPUTS = Seen._fields
TOLERANCE = 1e-4
TOML = """\
# A vision tower that puts pictures into the text space of all-MiniLM-L6-v2; see README.md.
name = "tamis_mini"
method = "tamis_mini"
licence = "Apache-2.0"  # of the weights; README.md lists what they were trained on
dim = {dim}
width = {width}
image_size = {image_size}
patch = {patch}
space = "all-MiniLM-L6-v2"
# The rule is tamis.models.runtimes.fit: first frame, alpha on the fill, longer side to
# image_size (bicubic), centred, padded with the fill.
resize = "pad"
fill = [255, 255, 255]

# The SHA-256 of each graph; a setting of the encoder chooses one.
[files]
"vision.onnx" = "{sha256}"
"vision.int8.onnx" = "{int8_sha256}"
"""


class DriftError(ValueError):
    """The exported graph does not compute what the network does."""


def export(tower: MiniVit, folder: Path) -> None:
    """Writes the three files.

    Raises:
        DriftError: The graph's outputs are further than 1e-4 from the network's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph, small = folder / "vision.onnx", folder / "vision.int8.onnx"
    tower = tower.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    side = tower.shape.image_size
    example = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        tower,
        (example,),
        input_names=["pixels"],
        output_names=list(OUTPUTS),
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        opset_version=18,
        dynamo=True,
        external_data=False,
    )
    assert program is not None  # noqa: S101 - dynamo=True always returns one
    program.save(graph)
    strip(graph)
    print(f"largest difference of graph and network: {drift(tower, graph, example):.2e}")
    quantised(graph, small)
    strip(small)
    shape = asdict(tower.shape)
    text = TOML.format(sha256=digest(graph), int8_sha256=digest(small), **shape)
    (folder / "model.toml").write_text(text)


@torch.no_grad()
def drift(tower: MiniVit, graph: Path, example: UInt8[Tensor, "batch side side 3"]) -> float:
    """The largest difference of any output, for a batch of 2 and of 5."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst = 0.0
    for pixels in (example, example[[0, 1, 1, 0, 1]].roll(7, 1)):
        made = session.run(list(OUTPUTS), {"pixels": pixels.numpy()})
        for own, other in zip(tower(pixels), made, strict=True):
            worst = max(worst, float(np.abs(own.numpy() - other).max()))
    if not worst <= TOLERANCE:
        raise DriftError(f"the graph differs from the network by {worst:.2e}")
    return worst


def quantised(graph: Path, small: Path) -> None:
    """The graph with its matrix products in int8, a scale a channel; convolutions stay float."""
    with tempfile.TemporaryDirectory() as scratch:
        inferred = Path(scratch) / "inferred.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(onnx.load(graph)), inferred)
        quantize_dynamic(
            inferred, small, per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip


def strip(graph: Path) -> None:
    """Takes out what the exporter notes of its source: no runtime reads it, and it names paths."""
    model = onnx.load(graph)
    inner = model.graph
    parts = (inner.node, inner.value_info, inner.input, inner.output, inner.initializer)
    for part in (model, inner, *(one for group in parts for one in group)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, graph)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Exports a checkpoint."""
    parser = argparse.ArgumentParser(description="Export tamis-mini.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    tower = MiniVit(MiniVitShape())
    tower.load_state_dict(torch.load(asked.checkpoint, weights_only=True))
    export(tower, asked.out)


if __name__ == "__main__":
    main()
