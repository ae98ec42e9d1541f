"""RankT5's logit, against the first step of transformers' T5."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from candidates import QUERY, TEXTS, candidates
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tamis.models.rerankers.rankt5 import RankT5
from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
from tamis.models.runtimes.hf.loading import Checkpoint


def test_the_score_is_the_logit_of_the_spare_token(tmp_path: Path) -> None:
    folder = tiny_models.t5(tmp_path / "t5")
    model = EncoderDecoder(Checkpoint(model=str(folder), device="cpu"))
    ranked = RankT5(model=model).rerank(QUERY, candidates())
    network: Any = T5ForConditionalGeneration.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    spare = tokenizer.convert_tokens_to_ids("<extra_id_10>")
    for one in ranked:
        prompt = f"Query: what does a fox do Document: {TEXTS[int(one.document_id)]}"
        with torch.no_grad():
            begun = torch.tensor([[network.config.decoder_start_token_id]])
            inputs = tokenizer(prompt, return_tensors="pt")
            logits = network(**inputs, decoder_input_ids=begun).logits[0, 0]
        assert one.score == pytest.approx(float(logits[spare]), rel=1e-4)
