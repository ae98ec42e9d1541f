"""monoBERT's head, against transformers' forward pass, through the exported graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from candidates import QUERY, TEXTS, candidates, order
from engines import build_engines
from language import WordMatch
from transformers import AutoTokenizer, BertForSequenceClassification

from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.rerankers.monobert import MonoBERT
from tamis.models.runtimes.onnx_cross_encoder import OnnxCrossEncoder

WORDS = tiny_models.TEXT[0].split()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.bert_classifier(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxCrossEncoder:
    out = tmp_path_factory.mktemp("served") / "ce"
    return OnnxCrossEncoder.open(
        export(checkpoint, out, Options(licence="none"), method="monobert").path, threads=1
    )


def expected(checkpoint: Path, query: str, texts: list[str]) -> np.ndarray:
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    network: Any = BertForSequenceClassification.from_pretrained(checkpoint)
    rows = []
    for text in texts:  # one by one: nothing is padded
        inputs = tokenizer(
            query, text, truncation="only_second", max_length=64, return_token_type_ids=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            rows.append(network(**inputs).logits[0].numpy())
    return np.array(rows)


def test_logits_are_those_of_transformers(checkpoint: Path, model: OnnxCrossEncoder) -> None:
    """Of texts of many lengths, one of which is cut, in one call and one by one."""
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, size=size)) for size in (3, 90, 1, 12, 13, 40)]
    query = "what does a fox do"
    by_hand = expected(checkpoint, query, texts)
    assert model.logits([(query, text) for text in texts]) == pytest.approx(by_hand, abs=1e-5)
    alone = np.concatenate([model.logits([(query, text)]) for text in texts])
    assert alone == pytest.approx(by_hand, abs=1e-5)


def test_the_score_is_the_log_probability_of_the_last_class(
    checkpoint: Path, model: OnnxCrossEncoder
) -> None:
    logits = torch.tensor(expected(checkpoint, "what does a fox do", TEXTS))
    ranked = MonoBERT(model=model).rerank(QUERY, candidates())
    scores = {one.document_id: one.score for one in ranked}
    for place, score in enumerate(logits.log_softmax(-1)[:, 1].tolist()):
        assert scores[str(place)] == pytest.approx(score, abs=1e-5)
    raw = MonoBERT(model=model, raw=True).rerank(QUERY, candidates())
    assert sorted(one.score for one in raw) == pytest.approx(
        sorted(logits[:, 1].tolist()), abs=1e-5
    )


def test_what_has_no_text_follows_in_its_old_order() -> None:
    ranked = MonoBERT(model=WordMatch()).rerank(QUERY, candidates([None, "fox", None, "a fox do"]))
    assert order(ranked) == "3102"
    assert [one.score for one in ranked] == [3, 1, -np.inf, -np.inf]


def test_nan_comes_last() -> None:
    class Odd(WordMatch):
        def logits(self, pairs: Any) -> np.ndarray:
            return np.array([[np.nan], [1.0], [np.nan]])

    assert order(MonoBERT(model=Odd()).rerank(QUERY, candidates())) == "102"


def test_tensorrt_builds_its_engine(model: OnnxCrossEncoder) -> None:
    build_engines(model.folder)
