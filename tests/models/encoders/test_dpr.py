"""DPR from its two published encoders to vectors, beside transformers' own classes.

Each export traces two networks, which takes seconds.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from tiny_text import WIDTH, rules, vocabulary
from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

from tamis.models.encoders.dpr import DPR, DPRRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.dpr import network, reads
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Side

TEXTS = ["who is it?", "a title\na passage, of words.", "no title", ""]


def tower(kind: type, projection: int, seed: int) -> Any:
    torch.manual_seed(seed)
    made = kind(
        DPRConfig(
            vocab_size=len(vocabulary("bert")), hidden_size=WIDTH, num_hidden_layers=1,
            num_attention_heads=3, intermediate_size=40, max_position_embeddings=40,
            initializer_range=0.5, projection_dim=projection,
        )
    )  # fmt: skip
    return made.eval()


def written(folder: Path, kind: type, projection: int = 0, seed: int = 0) -> Path:
    tower(kind, projection, seed).save_pretrained(folder)
    rules("bert").save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> DPR:
    folder = tmp_path_factory.mktemp("hub")
    question = written(folder / "question", DPRQuestionEncoder, projection=7)
    passages = written(folder / "context", DPRContextEncoder, projection=7, seed=1)
    options = Options(name="tiny", settings={"passages": str(passages)})
    return DPR(folder=str(export(question, folder / "served", options, method="dpr").path))


def pooled(network: Any, text: str, passage: str | None = None) -> np.ndarray:
    ids = torch.tensor([rules("bert").encode(text, passage).ids])
    with torch.no_grad():
        return np.asarray(network(ids).pooler_output[0])


def test_a_query_is_the_question_encoders(encoder: DPR) -> None:
    reference = tower(DPRQuestionEncoder, 7, seed=0)
    made = encoder.encode([Content(text=text) for text in TEXTS], Side.QUERY)
    for text, encoding in zip(TEXTS, made, strict=True):
        expected = pooled(reference, text)
        assert np.abs(encoding.heads["dense"] - expected).max() < 1e-4


def test_a_document_is_its_title_and_its_passage(encoder: DPR) -> None:
    reference = tower(DPRContextEncoder, 7, seed=1)
    made = encoder.encode([Content(text=text) for text in TEXTS], Side.DOCUMENT)
    parts = [(TEXTS[0],), ("a title", "a passage, of words."), (TEXTS[2],), ("",)]
    for text, encoding in zip(parts, made, strict=True):
        expected = pooled(reference, *text)
        assert np.abs(encoding.heads["dense"] - expected).max() < 1e-4


def test_it_is_compared_by_its_inner_product(encoder: DPR) -> None:
    (head,) = encoder.heads.values()
    assert (head.dim, head.dot, head.space) == (7, True, "tiny")


def test_the_two_encoders_are_one_fingerprint(encoder: DPR, tmp_path: Path) -> None:
    text = (Path(encoder.folder) / "model.toml").read_text()
    assert {'"query.onnx"', '"document.onnx"', '"tokenizer.json"'} <= set(text.split())


@pytest.mark.parametrize(("kind", "part"), [
    (DPRQuestionEncoder, "question_encoder"), (DPRContextEncoder, "ctx_encoder"),
])  # fmt: skip
@pytest.mark.parametrize("projection", [0, 5])
def test_every_tensor_has_its_place(kind: type, part: str, projection: int, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(written(tmp_path / "dpr", kind, projection))
    assert reads(checkpoint)
    ids = torch.tensor([rules("bert").encode("a b c").ids])
    with torch.no_grad():
        made = network(checkpoint, part)(ids, torch.ones_like(ids))
    assert np.abs(made[0].numpy() - pooled(tower(kind, projection, 0), "a b c")).max() < 1e-5


def test_one_encoder_alone_is_not_enough(tmp_path: Path) -> None:
    source = written(tmp_path / "question", DPRQuestionEncoder)
    with pytest.raises(ModelError, match="has one encoder; name that of the passages"):
        export(source, tmp_path / "served", method="dpr")


def test_encoders_of_two_lengths_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "both" / "question_encoder", DPRQuestionEncoder, projection=5)
    written(tmp_path / "both" / "ctx_encoder", DPRContextEncoder, projection=6)
    assert reads(Checkpoint.open(tmp_path / "both"))
    with pytest.raises(ModelError, match=r"differ in length: {'query': 5, 'document': 6}"):
        export(tmp_path / "both", tmp_path / "served", method="dpr")


def test_tensorrt_builds_its_engines(encoder: DPR) -> None:
    build_engines(ModelFolder.open(encoder.folder, DPRRecipe, "dpr"))
