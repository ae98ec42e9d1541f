"""TIGeR's reverse likelihood, against the cross-entropy of transformers' LLaVA."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from candidates import QUERY, candidates
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from tamis.models.rerankers.tiger import TIGeR
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.types import Candidate, Content


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_score_is_the_sum_of_the_query_s_log_probabilities(tmp_path: Path) -> None:
    folder = tiny_models.llava(tmp_path / "llava")
    model = Decoder(Checkpoint(model=str(folder), device="cpu"), sees=True)
    pictured = [Candidate(str(i), 1.0, Content(image=picture(i))) for i in range(3)]
    ranked = TIGeR(model=model).rerank(QUERY, [*pictured, *candidates(["no picture"])])
    assert ranked[-1].score == -np.inf
    processor: Any = AutoProcessor
    processor = processor.from_pretrained(folder)
    network: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    span = processor.tokenizer(QUERY.content.text, add_special_tokens=False).input_ids
    for one in ranked[:-1]:
        inputs = processor(
            images=[picture(int(one.document_id))],
            text="<|user|><image>Describe this image.</s><|assistant|>",
            return_tensors="pt",
        )
        before = inputs["input_ids"].shape[1]
        ids = torch.cat([inputs["input_ids"], torch.tensor([span])], dim=1)
        labels = ids.clone()
        labels[:, :before] = -100
        with torch.no_grad():
            loss = network.eval()(
                input_ids=ids, attention_mask=torch.ones_like(ids),
                pixel_values=inputs["pixel_values"], labels=labels,
            ).loss  # fmt: skip
        assert one.score == pytest.approx(-float(loss) * len(span), rel=1e-4)
