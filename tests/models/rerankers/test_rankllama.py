"""RankLLaMA's input, to the token, and its head, against transformers' own."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from candidates import QUERY, TEXTS, candidates
from language import LastWords
from transformers import AutoTokenizer, LlamaForSequenceClassification

from tamis.models.rerankers.rankllama import RankLLaMA
from tamis.models.runtimes.hf.classifier import Classifier
from tamis.models.runtimes.hf.loading import Checkpoint


def test_the_score_is_the_head_s_logit_at_the_last_token(tmp_path: Path) -> None:
    """One text at a time, so that transformers' forward pass meets no padding."""
    folder = tiny_models.llama_classifier(tmp_path / "rank")
    model = Classifier(Checkpoint(model=str(folder), device="cpu"))
    ranked = RankLLaMA(model=model).rerank(QUERY, candidates())
    network: Any = LlamaForSequenceClassification.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    for one in ranked:
        ids = []
        for text in (f"query: {QUERY.content.text}", f"document: {TEXTS[int(one.document_id)]}"):
            ids += [1, *tokenizer(text, add_special_tokens=False).input_ids]
        with torch.no_grad():
            logits = network.eval()(torch.tensor([ids])).logits
        assert one.score == pytest.approx(float(logits[0, 0]), abs=1e-4)


def test_query_and_document_are_cut_to_their_own_lengths() -> None:
    model = LastWords()
    RankLLaMA(model=model, query_tokens=3, document_tokens=6).rerank(QUERY, candidates())
    assert model.read[0] == "<s> query: what does <s> document: a dog"
    assert model.read[2] == "<s> query: what does <s> document: two kites"


def test_settings_leave_a_document_room() -> None:
    with pytest.raises(ValueError, match="document_tokens more than 3"):
        RankLLaMA(model=LastWords(), document_tokens=3)
