"""TSARankLLM's score, against the cross-entropy of transformers' Llama."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from candidates import QUERY, TEXTS, candidates
from language import Parrot
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.models.rerankers.tsarankllm import TSARankLLM
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint


def test_the_score_is_minus_the_mean_cross_entropy_of_the_query(tmp_path: Path) -> None:
    folder = tiny_models.llama(tmp_path / "llama")
    ranked = TSARankLLM(model=Decoder(Checkpoint(model=str(folder), device="cpu"))).rerank(
        QUERY, candidates()
    )
    network: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    span = tokenizer(QUERY.content.text, add_special_tokens=False).input_ids
    for one in ranked:
        ids = tokenizer(f"Document: {TEXTS[int(one.document_id)]} Query:").input_ids
        labels = torch.tensor([[-100] * len(ids) + span])
        with torch.no_grad():
            loss = network(torch.tensor([ids + span]), labels=labels).loss
        assert one.score == pytest.approx(-float(loss), rel=1e-4)


def test_document_and_query_fit_in_the_room() -> None:
    parrot = Parrot()
    TSARankLLM(model=parrot, max_tokens=10).rerank(QUERY, candidates(["w " * 50, "fox"]))
    assert parrot.read == ["Document: w w w Query:", "Document: fox Query:"]
