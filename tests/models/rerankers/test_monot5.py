"""monoT5's labels, against the first step of transformers' T5."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from candidates import QUERY, TEXTS, candidates, order
from language import Parrot
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tamis.models.rerankers.monot5 import MonoT5
from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
from tamis.models.runtimes.hf.loading import Checkpoint


def test_the_score_is_the_probability_of_true_at_the_first_step(tmp_path: Path) -> None:
    folder = tiny_models.t5(tmp_path / "t5")
    model = EncoderDecoder(Checkpoint(model=str(folder), device="cpu"))
    ranked = MonoT5(model=model).rerank(QUERY, candidates())
    scores = {one.document_id: one.score for one in ranked}
    network: Any = T5ForConditionalGeneration.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    labels = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("true", "false")]
    for place, text in enumerate(TEXTS):
        prompt = f"Query: what does a fox do Document: {text} Relevant:"
        told = network.generate(
            **tokenizer(prompt, return_tensors="pt"), max_new_tokens=1, do_sample=False,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        share = torch.softmax(told.logits[0][0, labels], dim=0)[0]
        assert scores[str(place)] == pytest.approx(float(share), abs=1e-6)


def test_a_long_document_loses_its_end() -> None:
    parrot = Parrot()
    MonoT5(model=parrot, max_tokens=12).rerank(QUERY, candidates(["w " * 100, "fox"]))
    assert parrot.read[0] == "Query: what does a fox do Document: w w w Relevant:"
    assert parrot.read[1] == "Query: what does a fox do Document: fox Relevant:"


def test_unknown_labels_leave_the_old_order() -> None:
    """As an endpoint does that tells of other tokens only."""

    def silent(text: str, word: str) -> float:
        return -np.inf

    ranked = MonoT5(model=Parrot(logits=silent)).rerank(QUERY, candidates())
    assert order(ranked) == "012"
