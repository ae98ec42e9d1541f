"""The graph that is written without torch computes what BERT computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from tamis.models.errors import ModelError
from tamis.models.export.bert_graph import BertShape, graph, parameters

SHAPE = BertShape(
    hidden=24, layers=2, heads=3, inner=40, vocabulary=50, positions=20, types=2, epsilon=1e-12
)


def reference(shape: BertShape, seed: int = 0) -> BertModel:
    """Hugging Face's BERT with random weights, large enough that an error would be seen."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=shape.epsilon,
        initializer_range=0.5,
    )
    model = BertModel(config)
    model.train(mode=False)
    return model


def weights(model: BertModel) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in model.state_dict().items()}


@given(
    heads=st.integers(1, 4),
    layers=st.integers(1, 3),
    inner=st.integers(1, 64),
    seed=st.integers(0, 9),
)
@settings(max_examples=10)
def test_its_states_are_those_of_transformers(
    heads: int, layers: int, inner: int, seed: int
) -> None:
    shape = BertShape(
        hidden=heads * 8, layers=layers, heads=heads, inner=inner,
        vocabulary=50, positions=20, types=2, epsilon=1e-5,
    )  # fmt: skip
    model = reference(shape, seed)
    made = graph(shape, weights(model))
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 50, (3, 11))
    mask = (np.arange(11) < np.array([[11], [4], [1]])).astype(np.int64)
    feed = {"input_ids": ids, "attention_mask": mask}
    states, embedding = session.run(["states", "embedding"], feed)
    with torch.no_grad():
        expected = model(**{key: torch.from_numpy(value) for key, value in feed.items()})
    real = expected.last_hidden_state.numpy()
    assert np.abs(states - real)[mask == 1].max() < 1e-4
    for made, own, length in zip(embedding, real, mask.sum(axis=1), strict=True):
        mean = own[:length].mean(axis=0)
        assert np.abs(made - mean / np.linalg.norm(mean)).max() < 1e-5


def test_every_key_of_a_checkpoint_has_its_place() -> None:
    known = parameters(SHAPE)
    held = weights(reference(SHAPE))
    assert {key: held[key].shape for key in known} == known
    assert held.keys() - known.keys() == {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layer.1.output.dense.bias": None}, r"encoder\.layer\.1\.output\.dense\.bias: m"),
        (
            {"encoder.layer.7.output.dense.bias": np.zeros(24)},
            r"layer\.7\.output\.dense\.bias: unk",
        ),
        ({"cls.predictions.bias": np.zeros(50)}, r"^cls\.predictions\.bias: unknown"),
        (
            {"embeddings.word_embeddings.weight": np.zeros((49, 24))},
            r"word_embeddings\.weight: expected \[50, 24\], got \[49, 24\]",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_named(
    change: dict[str, np.ndarray | None], message: str
) -> None:
    held = weights(reference(SHAPE)) | change
    with pytest.raises(ModelError, match=message):
        graph(SHAPE, {key: value for key, value in held.items() if value is not None})


def test_half_precision_weights_become_single() -> None:
    held = {key: value.astype(np.float16) for key, value in weights(reference(SHAPE)).items()}
    made = graph(SHAPE, held)
    kinds = {tensor.data_type for tensor in made.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
