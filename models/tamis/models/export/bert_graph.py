"""Writes the ONNX graph of a BERT encoder from its weights, without torch.

A first look at tamis must not download torch, and BERT is a dozen operators. They are written in
the shapes that ONNX Runtime's optimiser knows, so that it fuses attention, layer norms and GELU.
Knows nothing of files or of tokenizers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tamis.models.errors import ModelError

OPSET = 20  # the first with GELU as one operator
IR_VERSION = 9  # of onnx 1.15, when opset 20 came; runtimes refuse graphs newer than themselves
MASKED = -10_000.0  # added to the logit of a padding token: its weight underflows to exactly 0
LEAST = 1e-12  # the norm that a vector is divided by at least, as in torch

Weights = Mapping[str, Float[np.ndarray, "..."]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """The sizes of a BERT encoder, as in its config.json."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


# What a checkpoint may hold besides: buffers, and the pooler, which nothing here reads.
IGNORED = frozenset({"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"})


def parameters(shape: BertShape) -> dict[str, tuple[int, ...]]:
    """The checkpoint's keys and the shapes of their tensors."""
    hidden, inner = shape.hidden, shape.inner
    sizes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (shape.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (shape.positions, hidden),
        "embeddings.token_type_embeddings.weight": (shape.types, hidden),
        **_norm("embeddings.LayerNorm", hidden),
    }
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}"
        sizes |= {
            **_linear(f"{prefix}.attention.self.query", hidden, hidden),
            **_linear(f"{prefix}.attention.self.key", hidden, hidden),
            **_linear(f"{prefix}.attention.self.value", hidden, hidden),
            **_linear(f"{prefix}.attention.output.dense", hidden, hidden),
            **_norm(f"{prefix}.attention.output.LayerNorm", hidden),
            **_linear(f"{prefix}.intermediate.dense", hidden, inner),
            **_linear(f"{prefix}.output.dense", inner, hidden),
            **_norm(f"{prefix}.output.LayerNorm", hidden),
        }
    return sizes


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def check(shape: BertShape, weights: Weights) -> None:
    """Refuses a checkpoint that is not exactly the encoder's.

    Raises:
        ModelError: A key is missing or unknown, or its tensor has another shape.
    """
    expected = parameters(shape)
    for key, size in expected.items():
        if key not in weights:
            raise ModelError(f"{key}: missing")
        if weights[key].shape != size:
            raise ModelError(f"{key}: expected {list(size)}, got {list(weights[key].shape)}")
    if unknown := sorted(weights.keys() - expected.keys() - IGNORED):
        raise ModelError(f"{unknown[0]}: unknown, and BERT's encoder has no place for it")


def graph(shape: BertShape, weights: Weights) -> ModelProto:
    """The encoder as a float32 graph.

    Its inputs are `input_ids` and `attention_mask` (1 for real tokens), int64 and batch x length;
    every token is of the first type. Its outputs are `states`, batch x length x hidden, and
    `embedding`, their mean over the real tokens at unit length.

    Raises:
        ModelError: The weights are not those of a BERT encoder of this shape.
    """
    check(shape, weights)
    build = _Graph(weights)
    states = _embeddings(build, shape)
    mask = _mask(build)
    for layer in range(shape.layers):
        states = _layer(build, shape, f"encoder.layer.{layer}", states, mask)
    build.nodes[-1].output[0] = "states"
    _embedding(build)
    build.nodes[-1].output[0] = "embedding"
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [
        helper.make_tensor_value_info(
            "states", TensorProto.FLOAT, ["batch", "length", shape.hidden]
        ),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", shape.hidden]),
    ]
    model = helper.make_graph(build.nodes, "bert", inputs, outputs, list(build.tensors.values()))
    return helper.make_model(
        model,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tamis",
    )


@dataclass(slots=True)
class _Graph:
    """A graph in the making. Its methods add a node and return the name of what it computes."""

    weights: Weights
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: dict[str, TensorProto] = field(default_factory=dict)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        name = f"integers_{'_'.join(map(str, values))}"
        return self.constant(name, np.array(values, dtype=np.int64))

    def number(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, dtype=np.float32))

    def weight(self, key: str) -> str:
        return self.constant(key, self.weights[key].astype(np.float32))

    def linear(self, states: str, key: str) -> str:
        matrix = self.constant(f"{key}.weight", self.weights[f"{key}.weight"].astype(np.float32).T)
        return self.add("Add", self.add("MatMul", states, matrix), self.weight(f"{key}.bias"))

    def norm(self, states: str, key: str, epsilon: float) -> str:
        scale, shift = self.weight(f"{key}.weight"), self.weight(f"{key}.bias")
        return self.add("LayerNormalization", states, scale, shift, axis=-1, epsilon=epsilon)


def _embeddings(build: _Graph, shape: BertShape) -> str:
    words = build.add("Gather", build.weight("embeddings.word_embeddings.weight"), "input_ids")
    length = build.add("Shape", "input_ids", start=1, end=2)
    table = build.weight("embeddings.position_embeddings.weight")
    places = build.add("Slice", table, build.integers(0), length, build.integers(0))
    kind = build.weights["embeddings.token_type_embeddings.weight"][0].astype(np.float32)
    total = build.add("Add", build.add("Add", words, build.constant("kind", kind)), places)
    return build.norm(total, "embeddings.LayerNorm", shape.epsilon)


def _mask(build: _Graph) -> str:
    """0 for real tokens and a large negative number for padding, batch x 1 x 1 x length."""
    wide = build.add("Unsqueeze", "attention_mask", build.integers(1, 2))
    real = build.add("Cast", wide, to=TensorProto.FLOAT)
    padding = build.add("Sub", build.number("one", 1.0), real)
    return build.add("Mul", padding, build.number("masked", MASKED))


def _embedding(build: _Graph) -> None:
    """The mean of `states` over real tokens, at unit length."""
    real = build.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    kept = build.add("Mul", "states", build.add("Unsqueeze", real, build.integers(2)))
    total = build.add("ReduceSum", kept, build.integers(1), keepdims=0)
    mean = build.add("Div", total, build.add("ReduceSum", real, build.integers(1), keepdims=1))
    length = build.add("ReduceL2", mean, build.integers(1), keepdims=1)
    build.add("Div", mean, build.add("Max", length, build.number("least", LEAST)))


def _layer(build: _Graph, shape: BertShape, prefix: str, states: str, mask: str) -> str:
    mixed = build.linear(
        _attention(build, shape, prefix, states, mask), f"{prefix}.attention.output.dense"
    )
    states = build.norm(
        build.add("Add", mixed, states), f"{prefix}.attention.output.LayerNorm", shape.epsilon
    )
    inner = build.add("Gelu", build.linear(states, f"{prefix}.intermediate.dense"))
    outer = build.linear(inner, f"{prefix}.output.dense")
    return build.norm(build.add("Add", outer, states), f"{prefix}.output.LayerNorm", shape.epsilon)


def _attention(build: _Graph, shape: BertShape, prefix: str, states: str, mask: str) -> str:
    each = shape.hidden // shape.heads

    def heads(name: str, order: list[int]) -> str:
        flat = build.linear(states, f"{prefix}.attention.self.{name}")
        split = build.add("Reshape", flat, build.integers(0, 0, shape.heads, each))
        return build.add("Transpose", split, perm=order)

    query, key = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])
    value = heads("value", [0, 2, 1, 3])
    products = build.add("MatMul", query, key)
    logits = build.add("Div", products, build.number("root", float(np.sqrt(each))))
    shares = build.add("Softmax", build.add("Add", logits, mask), axis=-1)
    read = build.add("Transpose", build.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return build.add("Reshape", read, build.integers(0, 0, shape.hidden))
