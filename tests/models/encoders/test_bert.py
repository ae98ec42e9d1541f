"""A sentence encoder from its published files to vectors, beside transformers and its formula.

Each export traces a network, which takes seconds: one a layout.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import save_file
from tiny_text import WIDTH, model, rules, sentence_transformers, tiny_text
from torch import nn

from tamis.models.encoders.bert import Bert, BertRecipe
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Kind, Side

TEXTS = ["a red bike.", "b", "", "what is it, " * 3]


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """First token, a linear map with tanh, unit length, and prompts."""
    source = sentence_transformers(
        tiny_text(tmp_path_factory.mktemp("hub") / "tiny-cls"),
        {"kind": "Pooling", "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        {"kind": "Dense", "in_features": WIDTH, "out_features": 6, "bias": True,
         "activation_function": "torch.nn.modules.activation.Tanh"},
        {"kind": "Normalize"},
    )  # fmt: skip
    torch.manual_seed(1)
    linear = nn.Linear(WIDTH, 6)
    save_file({f"linear.{k}": v for k, v in linear.state_dict().items()},
              source / "2_Dense" / "model.safetensors")  # fmt: skip
    (source / "config_sentence_transformers.json").write_text('{"prompts": {"query": "q: "}}')
    return export(
        source, source.parent / "served", Options(name="mine", licence="MIT"), method="bert"
    ).path


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XLM-R without `modules.json`, whose name says that it is an E5."""
    source = tiny_text(tmp_path_factory.mktemp("hub") / "multilingual-e5-tiny", "xlm-roberta")
    return export(source, source.parent / "served", method="bert").path


def states(kind: str, text: str) -> np.ndarray:
    ids = torch.tensor([rules(kind).encode(text).ids])
    with torch.no_grad():
        made = model(kind)(input_ids=ids, attention_mask=torch.ones_like(ids))
    return np.asarray(made.last_hidden_state[0])


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize(("side", "prefix"), [(Side.QUERY, "q: "), (Side.DOCUMENT, "")])
def test_it_embeds_as_its_modules_say(projected: Path, side: Side, prefix: str) -> None:
    torch.manual_seed(1)
    linear = nn.Linear(WIDTH, 6)
    made = Bert(folder=str(projected)).encode([Content(text=text) for text in TEXTS], side)
    for text, encoding in zip(TEXTS, made, strict=True):
        own = states("bert", prefix + text)
        pooled = np.tanh(own[0] @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())
        assert np.abs(encoding.heads["dense"] - unit(pooled)).max() < 1e-5
        if len(own) > 2:
            tokens = encoding.heads["tokens"]
            expected = np.stack([unit(state) for state in own[1:-1]])
            assert np.abs(tokens - expected).max() < 1e-5
        else:
            assert encoding.heads.keys() == {"dense"}


def test_its_heads_and_name_are_the_manifests(projected: Path) -> None:
    encoder = Bert(folder=str(projected))
    heads = {name: (head.kind, head.dim, head.space) for name, head in encoder.heads.items()}
    assert heads == {"dense": (Kind.DENSE, 6, "mine"), "tokens": (Kind.MULTI, WIDTH, "mine")}
    assert sorted(path.name for path in projected.iterdir()) == [
        "model.toml", "text.onnx", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("side", "prefix"), [(Side.QUERY, "query: "), (Side.DOCUMENT, "passage: ")]
)
def test_an_xlm_roberta_is_averaged_at_its_own_positions(
    averaged: Path, side: Side, prefix: str
) -> None:
    encoder = Bert(folder=str(averaged))
    made = encoder.encode([Content(text=text) for text in TEXTS], side)
    for text, encoding in zip(TEXTS, made, strict=True):
        own = states("xlm-roberta", (prefix + text).strip())
        expected = unit(own.mean(axis=0))
        assert np.abs(encoding.heads["dense"] - expected).max() < 1e-5


def test_the_end_that_is_not_read_is_known_whatever_the_side(averaged: Path) -> None:
    encoder = Bert(folder=str(averaged))  # 38 positions, two special tokens, "passage:" in eight
    assert encoder.max_tokens == 36
    assert not encoder.truncates(Content(text="a " * 28))
    assert encoder.truncates(Content(text="a " * 29))
    query, cut = (Content(text="a " * n) for n in (28, 400))
    vectors = [one.heads["dense"] for one in encoder.encode([query, cut], Side.DOCUMENT)]
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)  # type: ignore[arg-type]


def test_tensorrt_builds_its_engines(averaged: Path) -> None:
    build_engines(ModelFolder.open(averaged, BertRecipe, "bert"))
