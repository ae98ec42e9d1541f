"""Writes the graph that scores documents by MaxSim in whole numbers: `weights/max_sim.onnx`.

`python -m tamis.models.export.max_sim_graph` writes it again. It is some 500 bytes and has no
weights.
"""

from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper

from tamis.models.runtimes.max_sim import GRAPH

OPSET, IR_VERSION = 18, 9  # ReduceMax with axes as an input; runtimes refuse newer graphs


def graph() -> ModelProto:
    """Documents of `tokens` vectors each, in uint8 with 128 for zero, against an int8 query."""

    def value(name: str, kind: int, *shape: str | int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(name: str, kind: int, *numbers: int) -> TensorProto:
        return helper.make_tensor(name, kind, [len(numbers)] if name == "tokens" else [], numbers)

    nodes = [
        helper.make_node("MatMulInteger", ["documents", "query", "zero"], ["products"]),
        helper.make_node("Reshape", ["products", "shape"], ["by_document"]),
        helper.make_node("ReduceMax", ["by_document", "tokens"], ["matches"], keepdims=0),
        helper.make_node("Cast", ["matches"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scales"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "tokens"], ["scores"], keepdims=0),
    ]
    inputs = [
        value("documents", TensorProto.UINT8, "vectors", "dim"),
        value("query", TensorProto.INT8, "dim", "query_tokens"),
        value("scales", TensorProto.FLOAT, "query_tokens"),
        value("shape", TensorProto.INT64, 3),
    ]
    constants = [
        constant("zero", TensorProto.UINT8, 128),
        constant("tokens", TensorProto.INT64, 1),
    ]
    model: ModelProto = helper.make_model(
        helper.make_graph(
            nodes, "max_sim", inputs, [value("scores", TensorProto.FLOAT, "count")], constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tamis",
    )
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    GRAPH.write_bytes(graph().SerializeToString(deterministic=True))
    print(f"{GRAPH}: {GRAPH.stat().st_size} bytes")
