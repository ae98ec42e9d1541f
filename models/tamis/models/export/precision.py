"""Graphs in fewer bits, made of the float32 graph, and what that changes."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Float
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from tamis.models.blocks.similarity import unit
from tamis.models.errors import ModelError
from tamis.models.export.graphs import INLINE_BYTES
from tamis.models.runtimes.onnx import OnnxSession

# By the commands' names for them.
SPELLED = {"fp32": "float32", "fp16": "float16", "int8": "int8", "int8-static": "int8_static"}
PRECISIONS = tuple(SPELLED.values())
PRODUCTS = ["MatMul", "Gemm"]  # what becomes int8; the rest is little of the work
ACTIVATIONS = ("Erf", "Gelu", "Relu", "Sigmoid", "Tanh")
STEPS = 4  # from a product back to the Erf of a GELU that is written out
NEIGHBOURS = 5

Feed = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Effect:
    """How far vectors in fewer bits are from float32's.

    Attributes:
        mean_cosine: Over all vectors of all outputs.
        least_cosine: The same, of the worst one.
        recall: Of each embedding's five nearest among the others, how many stay; None where the
            graph gives fewer than seven embeddings, one an input.
    """

    mean_cosine: float
    least_cosine: float
    recall: float | None

    def __str__(self) -> str:
        kept = "" if self.recall is None else f", recall@{NEIGHBOURS} {self.recall:.3f}"
        return f"cosine to float32 mean {self.mean_cosine:.5f} least {self.least_cosine:.5f}{kept}"


def convert(path: Path, precision: str, cases: Sequence[Feed]) -> Effect:
    """Rewrites a float32 graph in place.

    ``float16`` keeps float32 inputs and outputs. ``int8`` has the weights of matrix products in
    int8 with a scale a channel and scales the activations as it runs; ``int8_static`` scales them
    by what the `cases` showed, and leaves the products of lopsided ones in float32.

    Args:
        path: The graph's file; its weights may be beside it.
        precision: One of `PRECISIONS` but ``float32``.
        cases: Inputs by name, to calibrate with and to measure the effect on.

    Raises:
        ModelError: ONNX Runtime cannot convert the graph, or gives something that is no number.
    """
    before = outputs(path, cases)
    quiet = logging.getLogger()  # the quantiser writes its advice to the root logger
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            CONVERTERS[precision](path, made, cases)
            model = onnx.load(made)
            _beside(path).unlink(missing_ok=True)
            _save(model, path)
    except Exception as error:  # a converter raises what it likes at an operator it does not know
        raise ModelError(f"{path.name}: cannot be made {precision}: {error}") from error
    finally:
        quiet.setLevel(level)
    return effect(before, outputs(path, cases), cases)


def outputs(path: Path, cases: Sequence[Feed]) -> list[dict[str, np.ndarray]]:
    """What a graph makes of each case."""
    session = OnnxSession.open(path)
    return [session.run(case) for case in cases]


def effect(
    before: Sequence[Mapping[str, np.ndarray]],
    after: Sequence[Mapping[str, np.ndarray]],
    cases: Sequence[Feed],
) -> Effect:
    """Compares what two graphs made of the same cases; padding is left out.

    Raises:
        ModelError: Something in `after` is no number.
    """
    pairs = list(zip(before, after, cases, strict=True))
    cosines = np.concatenate(
        [
            np.vecdot(unit(_vectors(old[name], case)), unit(_vectors(new[name], case)))
            for old, new, case in pairs
            for name in old
        ]
    )
    if not np.isfinite(cosines).all():
        raise ModelError("a vector in fewer bits is not a number")
    flat = next((name for name, made in before[0].items() if made.ndim == 2), None)
    recall = None
    if flat is not None:
        old, new = (np.concatenate([one[flat] for one in side]) for side in (before, after))
        recall = kept_neighbours(old, new) if len(old) > NEIGHBOURS + 1 else None
    return Effect(float(cosines.mean()), float(cosines.min()), recall)


def kept_neighbours(
    before: Float[np.ndarray, "n dim"], after: Float[np.ndarray, "n dim"], k: int = NEIGHBOURS
) -> float:
    """The share of each vector's k nearest others that are so still."""
    nearest = []
    for vectors in (before, after):
        cosines = unit(vectors) @ unit(vectors).T
        np.fill_diagonal(cosines, -np.inf)
        nearest.append(np.argsort(-cosines, axis=1, kind="stable")[:, :k])
    shared = [len(set(old) & set(new)) for old, new in zip(*nearest, strict=True)]
    return float(np.mean(shared) / k)


def _vectors(made: np.ndarray, case: Feed) -> Float[np.ndarray, "n dim"]:
    mask = case.get("attention_mask")
    if mask is not None and made.shape[:2] == mask.shape and made.ndim > 2:
        return made[mask == 1]
    return made.reshape(-1, made.shape[-1])


def _half(path: Path, made: Path, cases: Sequence[Feed]) -> None:
    model = convert_float_to_float16(
        onnx.load(path), keep_io_types=True, disable_shape_infer=_large(path)
    )
    _save(model, made)


def _dynamic(path: Path, made: Path, cases: Sequence[Feed]) -> None:
    with _inferred(path) as inferred:
        quantize_dynamic(
            inferred, made, per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=PRODUCTS, use_external_data_format=_large(path),
        )  # fmt: skip


def _static(path: Path, made: Path, cases: Sequence[Feed]) -> None:
    lopsided = after_activations(onnx.load(path, load_external_data=False))
    with _inferred(path) as inferred:
        quantize_static(
            inferred, made, _Reader(cases), per_channel=True, weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8, op_types_to_quantize=PRODUCTS,
            use_external_data_format=_large(path), nodes_to_exclude=lopsided,
            extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip


def after_activations(model: onnx.ModelProto) -> list[str]:
    """The products of what comes straight from an activation function.

    Its outputs are lopsided, and one scale for all of them loses most of what they say.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}

    def activated(name: str, steps: int) -> bool:
        node = made_by.get(name)
        if node is None or not steps:
            return False
        through = node.op_type in ("Add", "Mul")
        return node.op_type in ACTIVATIONS or (
            through and any(activated(input_, steps - 1) for input_ in node.input)
        )

    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    return [node.name for node in products if activated(node.input[0], STEPS)]


CONVERTERS = {"float16": _half, "int8": _dynamic, "int8_static": _static}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives the cases one by one."""

    def __init__(self, cases: Sequence[Feed]) -> None:
        self._left: Iterator[Feed] = iter(cases)

    def get_next(self) -> Feed | None:
        return next(self._left, None)


@contextmanager
def _inferred(path: Path) -> Iterator[Path]:
    """The graph with the shapes of its inner tensors, by which the quantiser finds its way.

    Beside the graph for a while, because weights in a file of their own are looked for there.
    """
    inferred = path.with_name(f"inferred.{path.name}")
    try:
        onnx.shape_inference.infer_shapes_path(str(path), str(inferred))
        yield inferred
    finally:
        inferred.unlink(missing_ok=True)


def _large(path: Path) -> bool:
    return _beside(path).exists()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a graph, its weights inside where they fit."""
    large = model.ByteSize() > INLINE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=_beside(path).name)
