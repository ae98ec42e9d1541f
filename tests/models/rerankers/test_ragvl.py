"""RagVL's yes and no, against the first step of transformers' LLaVA, and its threshold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from candidates import QUERY, candidates, order
from language import Parrot
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from tamis.models.rerankers.ragvl import RagVL
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.types import Candidate, Content

SURE = {"ant": 0.2, "bee": 0.9, "cat": 0.6}


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pictured() -> list[Candidate]:
    return [
        replace(one, content=replace(one.content, image=picture(place)))
        for place, one in enumerate(candidates(list(SURE)))
    ]


def answers(text: str, word: str) -> float:
    share = next(share for name, share in SURE.items() if f"Caption: {name}" in text)
    return float(np.log(share / (1 - share))) if word == "Yes" else 0.0


def test_the_score_is_the_share_of_yes_at_the_first_step(tmp_path: Path) -> None:
    folder = tiny_models.llava(tmp_path / "llava")
    model = Decoder(Checkpoint(model=str(folder), device="cpu"), sees=True)
    ranked = RagVL(model=model).rerank(QUERY, pictured())
    processor: Any = AutoProcessor
    processor = processor.from_pretrained(folder)
    network: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    labels = [processor.tokenizer(w, add_special_tokens=False).input_ids[0] for w in ("Yes", "No")]
    for one in ranked:
        place = int(one.document_id)
        asked = (
            f"Image Caption: {list(SURE)[place]}\nQuestion: {QUERY.content.text}\n"
            "Is this image relevant to the question? Answer 'Yes' or 'No'."
        )
        inputs = processor(
            images=[picture(place)], text=f"<|user|><image>{asked}</s><|assistant|>",
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            logits = network.eval()(**inputs).logits[0, -1, labels]
        assert one.score == pytest.approx(float(logits.softmax(0)[0]), abs=1e-5)


def test_below_the_threshold_the_old_order_is_left() -> None:
    reranker = RagVL(model=Parrot(logits=answers))
    assert order(reranker.rerank(QUERY, pictured())) == "120"
    ranked = replace(reranker, threshold=0.7).rerank(QUERY, pictured())
    assert order(ranked) == "102"
    assert [one.score for one in ranked] == [pytest.approx(0.9), -np.inf, -np.inf]


def test_a_candidate_without_an_image_is_not_asked_about() -> None:
    parrot = Parrot(logits=answers)
    mixed = [Candidate("text", 1.0, Content(text="only words")), *pictured()]
    ranked = RagVL(model=parrot).rerank(QUERY, mixed)
    assert ranked[-1].document_id == "text"
    assert len(parrot.read) == 3


def test_a_long_caption_loses_its_end() -> None:
    parrot = Parrot(logits=lambda text, word: 0.0)
    (one, *_) = pictured()
    long = replace(one, content=replace(one.content, text="word " * 500))
    RagVL(model=parrot, caption_tokens=2).rerank(QUERY, [long])
    assert "Image Caption: word word\nQuestion:" in parrot.read[0]


def test_the_threshold_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"threshold must be from 0 to 1, not 1\.5"):
        RagVL(model=Parrot(), threshold=1.5)
