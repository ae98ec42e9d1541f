"""Encoder-decoders on torch, against transformers' own forward pass on one prompt at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tamis.models.errors import InputError
from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.language import Message, Prompt

PROMPTS = [
    Prompt(text="Query: what does a fox do? Document: it jumps. Relevant:"),
    Prompt(prefix="two ", text="kites", answer="Passage"),
    Prompt(text="a red bicycle"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.t5(tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture(scope="module")
def model(folder: Path) -> EncoderDecoder:
    return EncoderDecoder(Checkpoint(model=str(folder), device="cpu", max_tokens=64))


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Any, Any]:
    network: Any = T5ForConditionalGeneration.from_pretrained(folder)
    return network, AutoTokenizer.from_pretrained(folder)


def logits(reference: tuple[Any, Any], prompt: Prompt, after: list[int]) -> torch.Tensor:
    """At each of the decoder's tokens: its start, the answer so far, and `after`."""
    network, tokenizer = reference
    begun = [0, *tokenizer(prompt.answer, add_special_tokens=False).input_ids, *after]
    inputs = tokenizer(prompt.prefix + prompt.text, return_tensors="pt")
    with torch.no_grad():
        found = network(**inputs, decoder_input_ids=torch.tensor([begun])).logits[0]
    return torch.as_tensor(found)


def test_the_next_token_has_the_logits_of_its_prompt(
    model: EncoderDecoder, reference: tuple[Any, Any]
) -> None:
    ids = [5, 6, 300]
    expected = np.array([logits(reference, p, [])[-1][ids].numpy() for p in PROMPTS])
    assert model.token_logits(PROMPTS, ids) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    shares = np.array([logits(reference, p, [])[-1].log_softmax(-1)[ids].numpy() for p in PROMPTS])
    found = model.token_log_probabilities(PROMPTS, ids)
    assert found == pytest.approx(shares, rel=1e-4, abs=1e-4)


def test_a_span_is_told_token_by_token(model: EncoderDecoder, reference: tuple[Any, Any]) -> None:
    spans = ["it jumps over", "", "Yes"]
    for found, prompt, span in zip(
        model.span_log_likelihoods(PROMPTS, spans), PROMPTS, spans, strict=True
    ):
        ids = model.token_ids(span)
        whole = logits(reference, prompt, ids).log_softmax(-1)
        expected = [float(whole[i - len(ids) - 1, token]) for i, token in enumerate(ids)]
        assert found == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4)


def test_answers_are_the_likeliest_tokens(
    model: EncoderDecoder, reference: tuple[Any, Any]
) -> None:
    prompts = [PROMPTS[0], PROMPTS[2]]
    for answer, prompt in zip(model.generate(prompts, max_tokens=4), prompts, strict=True):
        written: list[int] = []
        while len(written) < 4 and 2 not in written:
            written.append(int(logits(reference, prompt, written)[-1].argmax()))
        assert answer == model._reading.texts.text(written)


def test_what_it_cannot_read_is_refused(model: EncoderDecoder) -> None:
    with pytest.raises(InputError, match="not images or conversations"):
        model.token_logits([Prompt(messages=(Message("user", "x"),))], [5])
    with pytest.raises(InputError, match="tokens; the model reads 64"):
        model.token_logits([Prompt(text="word " * 99)], [5])
