"""A graph is its network: whole, in fewer bits, and beside its weights; or it is refused.

Each export traces a network, which takes seconds: one serves most tests.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tamis.models.errors import ModelError
from tamis.models.export import graphs
from tamis.models.export.draft import Draft, Options
from tamis.models.export.graphs import to_onnx, verify
from tamis.models.export.precision import after_activations, convert, kept_neighbours
from tamis.models.runtimes.onnx import OnnxSession

AXES = {0: "texts", 1: "length"}


class Net(nn.Module):
    """Two products, an embedding whose inner name is that of an output, and a pooled vector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(50, 16)
        self.inner, self.outer = nn.Linear(16, 32), nn.Linear(32, 8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.outer(nn.functional.gelu(self.inner(self.words(input_ids))))
        weights = attention_mask[..., None].float()
        return (states * weights).sum(1) / weights.sum(1), states


def case(texts: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    seeded = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (texts, 1), generator=seeded)
    return {
        "input_ids": torch.randint(0, 50, (texts, length), generator=seeded),
        "attention_mask": (torch.arange(length) < lengths).long(),
    }


CASES = [case(8, 5), case(8, 9, seed=1), case(1, 1)]
FEEDS = [{name: own.numpy() for name, own in one.items()} for one in CASES]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "text.onnx"
    dynamic: Mapping[str, Mapping[int, str]] = {"input_ids": AXES, "attention_mask": AXES}
    to_onnx(Net(), CASES[0], ("embedding", "states"), path, dynamic=dynamic)
    return path


@pytest.fixture
def graph(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported, tmp_path / "text.onnx"))


def test_it_computes_what_the_network_does_at_any_shape(graph: Path) -> None:
    assert verify(Net(), graph, [*CASES, case(3, 40, seed=2)], tolerance=1e-5) <= 1e-5


def test_it_says_nothing_of_where_it_was_made(graph: Path) -> None:
    content = graph.read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[3]).encode() not in content


def test_its_axes_have_names(graph: Path) -> None:
    session = OnnxSession.open(graph).session
    assert [given.shape for given in session.get_inputs()] == [["texts", "length"]] * 2
    assert [made.name for made in session.get_outputs()] == ["embedding", "states"]


def test_a_graph_of_another_network_is_refused(graph: Path) -> None:
    other = Net()
    other.outer.bias.data += 1e-3
    with pytest.raises(ModelError, match=r"text\.onnx: embedding: the graph differs .* 1\.00e-03"):
        verify(other, graph, CASES, tolerance=1e-4)
    other.outer.bias.data += torch.nan
    with pytest.raises(ModelError, match=r"the graph differs from the network by nan"):
        verify(other, graph, CASES, tolerance=1e-4)


def test_large_weights_are_one_file_beside_it(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx_ir

    monkeypatch.setattr(graphs, "INLINE_BYTES", 1000)
    graphs.save(onnx_ir.load(exported), tmp_path / "text.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.onnx", "text.onnx.data"]
    assert verify(Net(), tmp_path / "text.onnx", CASES, tolerance=1e-5) <= 1e-5
    found = convert(tmp_path / "text.onnx", "int8", FEEDS)
    assert found.mean_cosine > 0.99
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


@pytest.mark.parametrize(
    ("precision", "least", "kind"),
    [
        ("float16", 0.99999, "FLOAT16"),
        ("int8", 0.99, "INT8"),
        ("int8_static", 0.99, "INT8"),
    ],
)
def test_fewer_bits_change_little(graph: Path, precision: str, least: float, kind: str) -> None:
    size = graph.stat().st_size
    found = convert(graph, precision, FEEDS)
    assert least <= found.mean_cosine <= 1.00001
    assert found.least_cosine <= found.mean_cosine
    assert found.recall is not None
    assert found.recall > 0.8
    held = {onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load(graph).graph.initializer}
    assert kind in held
    assert graph.stat().st_size < size or precision == "int8_static"
    assert [path.name for path in graph.parent.iterdir()] == ["text.onnx"]


def test_what_follows_an_activation_is_known(graph: Path) -> None:
    (name,) = after_activations(onnx.load(graph))
    (last,) = [node for node in onnx.load(graph).graph.node if node.name == name]
    products = [n for n in onnx.load(graph).graph.node if n.op_type in ("MatMul", "Gemm")]
    assert last.name == products[1].name


def test_a_graph_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"text\.onnx: ONNX Runtime cannot load it"):
        convert(tmp_path / "text.onnx", "int8", FEEDS)


def test_neighbours_are_counted_apart_from_oneself() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    assert kept_neighbours(vectors, vectors * 3) == 1
    assert kept_neighbours(vectors, np.random.default_rng(1).normal(size=(20, 4))) < 0.6


def test_a_draft_refuses_what_is_too_far_off(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(module: nn.Module, inputs: object, outputs: object, path: Path, **_: object) -> None:
        shutil.copy(exported, path)

    monkeypatch.setattr("tamis.models.export.draft.to_onnx", copied)
    said: list[str] = []
    draft = Draft(tmp_path, Options(precision="int8", cosine=1.1), said.append)
    with pytest.raises(ModelError, match=r"int8 is too far from float32: mean cosine 0\.9"):
        draft.graph("text", Net(), ("embedding", "states"), CASES, dynamic={})
    assert any("cosine to float32 mean" in line for line in said)
    assert any("differs from the network by" in line for line in said)


def test_a_precision_that_is_not_known_is_refused() -> None:
    with pytest.raises(ModelError, match="precision: 'int4' is not one of: float32, float16, int8"):
        Options(precision="int4")
